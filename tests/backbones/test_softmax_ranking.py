"""The softmax over all items, and over a sample of them, against naive loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_runs import one_batch, prepared, scores

from recbole_darec.backbones.softmax_ranking import softmax_over_all, softmax_over_sample
from recbole_darec.errors import OptionError
from recbole_darec.run import make_trainer


def rows(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    users, items = (torch.randn(n, 5, dtype=torch.float64, generator=generator) for n in (6, 9))
    return users, items, torch.tensor([0, 3, 3, 8, 1, 5])


def naive(users: torch.Tensor, items: torch.Tensor, targets: torch.Tensor, tau: float) -> float:
    total = 0.0
    for user, target in zip(users, targets):
        everyone = [math.exp(float(user @ item) / tau) for item in items]
        total -= math.log(everyone[int(target)] / sum(everyone))
    return total / len(users)


@pytest.mark.parametrize("tau", [0.3, 1.0, 7.0])
def test_over_all_items(tau: float) -> None:
    users, items, targets = rows()
    found = softmax_over_all(users, items[targets], items, tau)
    assert float(found) == pytest.approx(naive(users, items, targets, tau), rel=1e-12)


def test_gradients() -> None:
    users, items, targets = rows(1)
    given = (users.requires_grad_(), items.requires_grad_())
    assert torch.autograd.gradcheck(lambda u, i: softmax_over_all(u, i[targets], i, 0.7), given)
    assert torch.autograd.gradcheck(
        lambda u, i: softmax_over_sample(u, i[targets], i[2:5], len(i), 0.7), given
    )


def test_a_sample_of_all_the_others_is_all_of_them() -> None:
    users, items, _ = rows(2)
    for user, target in ((0, 4), (3, 0)):
        others = torch.tensor([n for n in range(len(items)) if n != target])
        one = users[user : user + 1]
        found = softmax_over_sample(one, items[[target]], items[others], len(items), 0.5)
        wanted = naive(one, items, torch.tensor([target]), 0.5)
        assert float(found) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("model", ["LightGCN", "SimGCL"])
@pytest.mark.parametrize("items", ["all", 16])
def test_it_is_what_a_run_trains_with(model: str, items: Any, tiny_dataset: Any) -> None:
    given: dict[str, Any] = {"align": "none", "rank_loss": "softmax"}
    given |= {"softmax_items": items, "softmax_tau": 0.5}
    if model == "SimGCL":
        given["ssl_weight"] = 0.0
    run = prepared(tiny_dataset.data_path, model, **given, reg_weight=0.0)
    batch = one_batch(run)
    torch.manual_seed(3)
    loss = run.model.calculate_loss(batch)
    found = float((loss[0] if isinstance(loss, tuple) else loss).detach())
    users, table = run.model.forward()[:2]
    user, targets = users[batch["user_id"]].detach().double(), batch["item_id"]
    table = table.detach().double()
    if items == "all":
        wanted = naive(user, table[1:], targets - 1, 0.5)
    else:
        torch.manual_seed(3)
        drawn = torch.randint(1, 41, (16,))
        wanted = 0.0
        for row, target in zip(user, targets):
            near = math.exp(float(row @ table[target]) / 0.5)
            far = sum(math.exp(float(row @ table[n]) / 0.5) for n in drawn) * 39 / 16
            wanted -= math.log(near / (near + far)) / len(user)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_it_finds_what_is_planted(tiny_dataset: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"align": "none", "rank_loss": "softmax", "epochs": 15}
    run = prepared(tiny_dataset.data_path, **given)
    score, _ = make_trainer(run).fit(run.train_data, run.valid_data, saved=False, verbose=False)
    assert score > 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rank_loss": "ce"}, "rank_loss='ce' must be one of bpr, softmax"),
        ({"softmax_items": 0}, "softmax_items=0 must be at least 1 or 'all'"),
        ({"softmax_tau": 0.0}, "softmax_tau=0.0 must be above 0"),
    ],
)
def test_bad_options_are_one_line(given: Any, message: str, tiny_dataset: Any) -> None:
    with pytest.raises(OptionError, match=message):
        prepared(tiny_dataset.data_path, align="none", **given)


def test_tables_start_from_the_profiles(tiny_dataset: Any) -> None:
    plain = prepared(tiny_dataset.data_path, "BPR", align="none")
    run = prepared(tiny_dataset.data_path, "BPR", align="none", init="text")
    before, table = (r.model.item_embedding.weight.detach() for r in (plain, run))
    assert torch.equal(before[0], table[0])
    found, deviation = table[1:].double(), float(before[1:].std())
    # Columns are uncorrelated, of the random table's deviation.
    covariance = found.T @ found / len(found) - found.mean(0).outer(found.mean(0))
    wanted = torch.eye(8, dtype=torch.float64) * deviation**2
    assert torch.allclose(covariance, wanted, atol=1e-3 * deviation**2)
    # The first direction of what is planted is the block: it parts the even from the odd items.
    numbers = [int(t.removeprefix("i")) % 2 for t in run.dataset.field2id_token["item_id"][1:]]
    sides = torch.tensor(numbers).double() * 2 - 1
    assert abs(float(torch.corrcoef(torch.stack([sides, found[:, 0]]))[0, 1])) > 0.9
    assert not torch.allclose(scores(plain), scores(run))


def test_without_tables_there_is_nothing_to_start(tiny_dataset: Any) -> None:
    with pytest.raises(OptionError, match="init=text: the model 'EASE' has no embedding table"):
        prepared(tiny_dataset.data_path, "EASE", align="none", init="text")

"""Our NCL beside RecBole's with the same clusters, and its loss by loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from alignment.equations import naive
from recbole.model.general_recommender.ncl import NCL as RecBoleNCL
from tiny_runs import one_batch, options, prepared

from backbones.naive import expected_embeddings, gradients, naive_ranking, relative
from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.backbones.ncl import NCL
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare

CLUSTERS = ("user_centroids", "user_2cluster", "item_centroids", "item_2cluster")
VISIBLE = {"ssl_reg": 0.02, "proto_reg": 0.03, "alpha": 0.7, "ssl_temp": 0.2, "num_clusters": 5}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("ncl")).data_path


def random_graph(data_path: Path, **changed: Any) -> Prepared:
    given = {"align": "none", "reg_weight": 0.01, **VISIBLE, **changed}
    return prepared(data_path, "NCL", **given)


def ml_100k(data_path: Path, **changed: Any) -> Prepared:
    given = {"align": "none", "reg_weight": 0.01, **VISIBLE, "num_clusters": 40, **changed}
    given = options(data_path, train_batch_size=1024, **given)
    return prepare(resolve("NCL", "ml-100k", None, given))


def stock_of(run: Prepared) -> RecBoleNCL:
    """RecBole's NCL with our parameters and clusters."""
    stock = RecBoleNCL(run.config, run.train_data._dataset)
    stock.load_state_dict(run.model.state_dict())
    for name in CLUSTERS:
        setattr(stock, name, getattr(run.model, name))
    return stock


# ---- RecBole's NCL -----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_layers", "hyper_layers"), [(3, 1), (1, 1), (2, 2), (0, 1)])
@pytest.mark.parametrize("data", [random_graph, ml_100k])
def test_loss_gradient_and_scores_are_recboles_over_the_first_steps(
    data: Callable, n_layers: int, hyper_layers: int, data_path: Path
) -> None:
    run = data(data_path, n_layers=n_layers, hyper_layers=hyper_layers, layer_aggregation="mean")
    ours = run.model
    ours.e_step()
    stock = stock_of(run)
    assert isinstance(ours, NCL)
    assert not isinstance(stock, NCL)
    batches = [batch for batch, _ in zip(run.train_data, range(3))]
    steps: list[list[tuple[Any, ...]]] = []
    for model in (ours, stock):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        steps.append([])
        for batch in batches:
            parts = model.calculate_loss(batch)
            for number, part in enumerate(parts):
                optimizer.zero_grad()
                part.sum().backward(retain_graph=True)
                steps[-1].append((number, part.detach().reshape(()), gradients(model).clone()))
            optimizer.zero_grad()
            sum(part.sum() for part in parts).backward()
            optimizer.step()
    assert len(steps[0]) == 9
    for (number, loss, gradient), (_, stock_loss, stock_gradient) in zip(*steps):
        torch.testing.assert_close(loss, stock_loss, rtol=1e-5, atol=0.0)
        assert float(stock_gradient.abs().max()) > 1e-6, number
        assert relative(gradient, stock_gradient) < 1e-5, number
    torch.testing.assert_close(
        ours.full_sort_predict(batches[0]),
        stock.full_sort_predict(batches[0]),
        rtol=1e-4,
        atol=1e-6,
    )
    torch.testing.assert_close(
        ours.predict(batches[0]), stock.predict(batches[0]), rtol=1e-4, atol=1e-6
    )
    for layer, stock_layer in zip(ours.forward()[2], stock.forward()[2]):
        torch.testing.assert_close(layer, stock_layer, rtol=1e-5, atol=1e-6)


def test_the_defaults_are_recboles() -> None:
    import recbole

    file = Path(recbole.__file__).parent / "properties" / "model" / "NCL.yaml"
    values = resolve("NCL", "ml-100k", [str(file)]).values
    ours = resolve("NCL", "ml-100k").values
    assert "num_clusters" in ours
    assert values == ours


# ---- loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_is_the_loop_over_the_batch(reduction: str, data_path: Path) -> None:
    run = random_graph(data_path, loss_reduction=reduction, reg_form="full", train_batch_size=40)
    model, batch = run.model, one_batch(run)
    torch.nn.init.normal_(model.user_embedding.weight)
    torch.nn.init.normal_(model.item_embedding.weight)
    model.e_step()
    parts = [float(part.detach()) for part in model.calculate_loss(batch)]

    matrix = model.graph.matrix().to_dense().double()
    users, items = expected_embeddings(model, matrix)
    tables = [t.weight.detach().double() for t in (model.user_embedding, model.item_embedding)]
    wanted = naive_ranking(users, items, batch) / 40
    wanted += 0.01 * math.fsum(float(x) ** 2 for table in tables for row in table for x in row)
    assert parts[0] == pytest.approx(wanted, rel=1e-5)

    size = 40 if reduction == "mean" else 1
    second_layer = (matrix @ (matrix @ torch.cat(tables))).split([model.n_users, model.n_items])
    near, far = [], []
    for kind, name in enumerate(("user", "item")):
        ids = batch[f"{name}_id"].tolist()
        own, behind = tables[kind].tolist(), second_layer[kind].tolist()
        near.append(math.fsum(_nce(behind[n], own[n], own) for n in ids))
        centers = getattr(model, f"{name}_centroids").tolist()
        labels = getattr(model, f"{name}_2cluster").tolist()
        far.append(math.fsum(_nce(own[n], centers[labels[n]], centers) for n in ids))
    assert parts[1] == pytest.approx(0.02 * (near[0] + 0.7 * near[1]) / size, rel=1e-5)
    assert parts[2] == pytest.approx(0.03 * (far[0] + far[1]) / size, rel=1e-5)


def _nce(row: list[float], partner: list[float], others: list[list[float]]) -> float:
    near = math.exp(naive.cosine(row, partner) / 0.2)
    return -math.log(near / math.fsum(math.exp(naive.cosine(row, o) / 0.2) for o in others))


def test_the_layer_behind_the_last_one_is_for_the_contrast_alone(data_path: Path) -> None:
    run = random_graph(data_path, n_layers=1, hyper_layers=2)
    users, items, layers = run.model.forward()
    assert len(layers) == 5
    torch.testing.assert_close(torch.cat([users, items]), layers[0] + layers[1])


@pytest.mark.parametrize("align", [m for m in aligner_names() if aligner_class(m).alters("ego")])
def test_what_an_aligner_masks_is_masked_for_the_ranking_and_not_for_the_contrast(
    align: str, data_path: Path
) -> None:
    given = {name: value for name, value in VISIBLE.items() if name != "ssl_temp"}
    alone, masked = (
        prepare(resolve("NCL", "tiny", None, without_darecs(data_path, align=a, **given)))
        for a in ("none", align)
    )
    masked.model.load_state_dict(alone.model.state_dict(), strict=False)
    batch, losses = one_batch(alone), []
    for run in (alone, masked):
        run.model.train()
        run.model.e_step()
        losses.append([float(p.detach().sum()) for p in run.model.calculate_loss(batch)][-3:])
    assert losses[0][0] != losses[1][0]
    assert losses[0][2] == losses[1][2], "prototypes attract the rows that were clustered"


def without_darecs(data_path: Path, **changed: Any) -> dict[str, Any]:
    given = options(data_path, **changed)
    return {k: v for k, v in given.items() if k not in _DARECS}


_DARECS = ("align_width", "align_mlp_hidden", "align_sample")


# ---- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"num_clusters": 0}, "num_clusters=0 must be at least 1"),
        ({"hyper_layers": 0}, "hyper_layers=0 must be at least 1"),
        ({"ssl_temp": 0.0}, "ssl_temp=0.0 must be above 0"),
        ({"m_step": 0}, "m_step=0 must be at least 1"),
        ({"warm_up_step": -1}, "warm_up_step=-1 must be at least 0"),
        ({"loss_reduction": "max"}, "loss_reduction='max' must be one of mean, sum"),
    ],
)
def test_bad_options_are_answered_by_name(changed: dict, words: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        random_graph(data_path, **changed)

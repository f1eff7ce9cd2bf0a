"""Our SGL beside RecBole's, on the same data, parameters, batches and seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.model.general_recommender.sgl import SGL as RecBoleSGL
from tiny_runs import one_batch, options, prepared

from backbones.naive import (
    dense,
    expected_embeddings,
    gradients,
    naive_contrast,
    naive_ranking,
    relative,
)
from recbole_darec.backbones.sgl import SGL
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare

STOCK = {"layer_aggregation": "mean", "loss_reduction": "sum", "align": "none"}
RLMREC = {
    "view_graphs": "step",
    "drop_ratio": 0.2,
    "contrast_negatives": True,
    "reg_form": "full",
    "align": "none",
}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("sgl")).data_path


def random_graph(data_path: Path, **changed: Any) -> Prepared:
    given = {"drop_ratio": 0.3, "ssl_weight": 0.5, "reg_weight": 0.01, **changed}
    return prepared(data_path, "SGL", **given)


def ml_100k(data_path: Path, **changed: Any) -> Prepared:
    given = options(data_path, n_layers=3, train_batch_size=1024, reg_weight=0.01, ssl_tau=0.2)
    return prepare(resolve("SGL", "ml-100k", None, {**given, **changed}))


def total(model: Any, batch: Any) -> torch.Tensor:
    parts = model.calculate_loss(batch)
    return (sum(parts) if isinstance(parts, tuple) else parts).reshape(())


def views_of(model: Any) -> tuple[Any, Any]:
    """The graphs of the two views, of our SGL or of RecBole's."""
    if isinstance(model, SGL):
        return model.augmented_graphs
    return model.sub_graph1, model.sub_graph2


# ---- RecBole's SGL -----------------------------------------------------------------------------


def stock_of(run: Prepared) -> RecBoleSGL:
    stock = RecBoleSGL(run.config, run.train_data._dataset)
    stock.load_state_dict(run.model.state_dict())
    return stock


@pytest.mark.parametrize("kind", ["ED", "ND", "RW"])
@pytest.mark.parametrize("data", [random_graph, ml_100k])
def test_loss_gradient_and_scores_are_recboles_over_the_first_steps(
    data: Callable, kind: str, data_path: Path
) -> None:
    run = data(data_path, type=kind, **STOCK)
    ours, stock = run.model, stock_of(run)
    assert isinstance(ours, SGL)
    assert not isinstance(stock, SGL)
    batches = [batch for batch, _ in zip(run.train_data, range(3))]
    steps: list[list[tuple[torch.Tensor, torch.Tensor]]] = []
    for model in (ours, stock):
        np.random.seed(3)  # noqa: NPY002 - RecBole draws from the global generator
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        steps.append([])
        for batch in batches:
            loss = total(model, batch)
            optimizer.zero_grad()
            loss.backward()
            steps[-1].append((loss.detach(), gradients(model).clone()))
            optimizer.step()
    for (loss, gradient), (stock_loss, stock_gradient) in zip(*steps):
        torch.testing.assert_close(loss, stock_loss, rtol=1e-5, atol=0.0)
        assert float(stock_gradient.abs().max()) > 1e-3
        assert relative(gradient, stock_gradient) < 1e-5
    torch.testing.assert_close(
        ours.full_sort_predict(batches[0]),
        stock.full_sort_predict(batches[0]).view(-1),  # RecBole's SGL alone leaves them in rows
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("kind", ["ED", "ND", "RW"])
def test_one_seed_draws_recboles_augmented_graphs(kind: str, data_path: Path) -> None:
    run = random_graph(data_path, type=kind, **STOCK)
    drawn = []
    for model in (run.model, stock_of(run)):
        np.random.seed(8)  # noqa: NPY002
        for _ in range(2):  # two epochs
            model.train()
        drawn.append([g for view in views_of(model) for g in (view if kind == "RW" else [view])])
        after = np.random.random()  # noqa: NPY002
        drawn[-1].append(torch.tensor(after))
    assert len(drawn[0]) == (2 * run.model.n_layers if kind == "RW" else 2) + 1
    for ours, stock in zip(*drawn):
        torch.testing.assert_close(dense(ours), dense(stock), rtol=1e-6, atol=0.0)
    assert not torch.equal(dense(drawn[0][0]), dense(drawn[0][1]))


# ---- graphs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ED", "ND", "RW"])
def test_a_repeated_interaction_is_one_edge_of_the_graph_and_of_the_views(
    kind: str, tmp_path: Path, make_tiny: Callable
) -> None:
    tiny = make_tiny(tmp_path)
    once = random_graph(tmp_path, type=kind, **STOCK).model
    part = tiny.folder / "tiny.train.inter"
    head, *lines = part.read_text().splitlines()
    part.write_text("\n".join([head, *lines, *lines[:100], lines[0]]) + "\n")
    run = random_graph(tmp_path, type=kind, **STOCK)
    assert len(run.train_data._dataset) == len(lines) + 101
    twice = run.model
    for model in (once, twice):
        np.random.seed(4)  # noqa: NPY002
        model.train()
    views = [views_of(m)[0] for m in (once, twice)]
    views = views if kind == "RW" else [[view] for view in views]
    for ours, same in zip([twice.graph, *views[1]], [once.graph, *views[0]]):
        assert torch.equal(dense(ours), dense(same))


def test_epoch_views_stay_for_an_epoch_and_are_drawn_from_the_restored_state(
    data_path: Path,
) -> None:
    model = random_graph(data_path, align="none").model
    state = np.random.get_state()  # noqa: NPY002
    model.train()
    first = dense(model.augmented_graphs[0])
    model.eval()
    assert torch.equal(dense(model.augmented_graphs[0]), first)
    model.train()
    assert not torch.equal(dense(model.augmented_graphs[0]), first)
    np.random.set_state(state)  # noqa: NPY002
    model.train()
    assert torch.equal(dense(model.augmented_graphs[0]), first)


def test_step_views_are_drawn_in_each_step_by_torch_alone(data_path: Path) -> None:
    run = random_graph(data_path, **RLMREC)
    model, batch = run.model, one_batch(run)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    model.train()
    torch.manual_seed(0)
    losses = [float(total(model, batch).detach()) for _ in range(2)]
    torch.manual_seed(0)
    again = [float(total(model, batch).detach()) for _ in range(2)]
    assert losses == again
    assert losses[0] != losses[1]
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert model.augmented_graphs is None


@pytest.mark.parametrize("changed", [{}, RLMREC])
def test_evaluation_ranks_by_the_whole_graph_and_draws_nothing(
    changed: dict, data_path: Path
) -> None:
    run = random_graph(data_path, **{"align": "none", **changed})
    model, batch = run.model, one_batch(run)
    model.train()
    model.eval()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    scores = model.full_sort_predict(batch)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    users, items = expected_embeddings(model, dense(model.graph).double())
    expected = users[batch["user_id"]] @ items.T
    torch.testing.assert_close(scores.double(), expected.view(-1), rtol=1e-5, atol=1e-6)


# ---- loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize("negatives", [False, True])
def test_rlmrecs_loss_is_the_loop_over_the_batch(negatives: bool, data_path: Path) -> None:
    given = {**RLMREC, "contrast_negatives": negatives, "ssl_tau": 0.3, "ssl_weight": 0.7}
    run = random_graph(data_path, **given)
    model, batch = run.model, one_batch(run)
    torch.nn.init.normal_(model.user_embedding.weight)
    torch.nn.init.normal_(model.item_embedding.weight)
    torch.manual_seed(21)
    ranking, contrast = model.calculate_loss(batch)

    torch.manual_seed(21)
    views = [
        expected_embeddings(model, model.graph.drop_edges(0.8)[0].to_dense().double())
        for _ in range(2)
    ]
    users, items = expected_embeddings(model, dense(model.graph).double())
    size = len(batch["user_id"])
    wanted = naive_ranking(users, items, batch) / size
    for table in (model.user_embedding.weight, model.item_embedding.weight):
        wanted += 0.01 * math.fsum(float(x) ** 2 for row in table.detach() for x in row)
    assert float(ranking.detach()) == pytest.approx(wanted, rel=1e-5)

    sides = [(0, batch["user_id"]), (1, batch["item_id"])]
    sides += [(1, batch["neg_item_id"])] if negatives else []
    sums = [naive_contrast(views[0][kind], views[1][kind], ids, 0.3) for kind, ids in sides]
    wanted = 0.7 * math.fsum(sums) / size
    assert float(contrast.detach()) == pytest.approx(wanted, rel=1e-5)


def test_the_mean_is_recboles_sum_over_the_batch_size_but_for_the_l2_term(data_path: Path) -> None:
    summed = random_graph(data_path, loss_reduction="sum", align="none", reg_weight=0.0)
    batch, losses = one_batch(summed), []
    averaged = random_graph(data_path, align="none", reg_weight=0.0).model
    averaged.load_state_dict(summed.model.state_dict())
    assert averaged.options.loss_reduction == "mean"
    for model in (summed.model, averaged):
        np.random.seed(1)  # noqa: NPY002
        model.train()
        losses.append(model.calculate_loss(batch))
    for whole, mean in zip(*losses):
        torch.testing.assert_close(mean, whole / len(batch["user_id"]))
    with_term = random_graph(data_path, align="none", reg_weight=0.5).model
    with_term.load_state_dict(averaged.state_dict())
    term = with_term.calculate_loss(batch)[0] - averaged.calculate_loss(batch)[0]
    rows = (
        averaged.user_embedding(batch["user_id"]),
        averaged.item_embedding(batch["item_id"]),
        averaged.item_embedding(batch["neg_item_id"]),
    )
    wanted = 0.5 * sum(float(r.detach().norm()) for r in rows) / len(batch["user_id"])
    assert float(term.detach()) == pytest.approx(wanted, rel=1e-4)


# ---- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"view_graphs": "step", "type": "ND"}, "view_graphs=step drops edges, and type=ND"),
        ({"type": "XX"}, "type='XX' must be one of ED, ND, RW"),
        ({"drop_ratio": 1.0}, "drop_ratio=1.0 must be at least 0 and below 1"),
        ({"ssl_tau": 0}, "ssl_tau=0 must be above 0"),
        ({"ssl_weight": -1}, "ssl_weight=-1 must be at least 0"),
    ],
)
def test_bad_options_are_answered_by_name(changed: dict, words: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        random_graph(data_path, align="none", **changed)

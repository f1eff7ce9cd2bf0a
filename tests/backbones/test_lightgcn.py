"""Our LightGCN beside RecBole's, on the same data, parameters and batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.model.general_recommender.lightgcn import LightGCN as RecBoleLightGCN
from tiny_runs import one_batch, options, prepared

from backbones.naive import gradients, relative
from recbole_darec.backbones.lightgcn import LightGCN
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare

STOCK = {"layer_aggregation": "mean", "reg_form": "batch", "edge_keep_rate": 1.0, "align": "none"}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("lightgcn")).data_path


def random_graph(data_path: Path, **changed: Any) -> Prepared:
    return prepared(data_path, **{"reg_weight": 0.01, **STOCK, **changed})


def ml_100k(data_path: Path, **changed: Any) -> Prepared:
    given = options(data_path, reg_weight=0.01, n_layers=3, train_batch_size=2048)
    return prepare(resolve("LightGCN", "ml-100k", None, {**given, **STOCK, **changed}))


@pytest.mark.parametrize("data", [random_graph, ml_100k])
def test_scores_loss_and_gradient_are_recboles(data: Callable, data_path: Path) -> None:
    run = data(data_path)
    ours, batch = run.model, one_batch(run)
    assert isinstance(ours, LightGCN)
    stock = RecBoleLightGCN(run.config, run.train_data._dataset)
    stock.load_state_dict(ours.state_dict())
    for model in (ours, stock):
        model.train()
        model.calculate_loss(batch).backward()
    for mine, theirs in zip(ours.forward(), stock.forward()):
        assert relative(mine, theirs) < 1e-6
    torch.testing.assert_close(
        ours.calculate_loss(batch), stock.calculate_loss(batch).reshape(()), rtol=1e-6, atol=1e-6
    )
    assert float(gradients(stock).abs().max()) > 1e-6
    assert relative(gradients(ours), gradients(stock)) < 1e-6
    torch.testing.assert_close(
        ours.full_sort_predict(batch), stock.full_sort_predict(batch), rtol=1e-5, atol=1e-6
    )


def test_sum_is_the_mean_times_the_number_of_layers(data_path: Path) -> None:
    mean = random_graph(data_path).model
    total = random_graph(data_path, layer_aggregation="sum").model
    for summed, averaged in zip(total.forward(), mean.forward()):
        torch.testing.assert_close(summed, (mean.n_layers + 1) * averaged)


def test_edges_are_dropped_in_training_only(data_path: Path) -> None:
    whole = random_graph(data_path).model
    thinned = random_graph(data_path, edge_keep_rate=0.5).model
    thinned.load_state_dict(whole.state_dict())
    whole.eval(), thinned.eval()
    assert torch.equal(whole.forward()[0], thinned.forward()[0])
    thinned.train()
    first, second = thinned.forward()[0], thinned.forward()[0]
    assert not torch.equal(first, second)


def test_evaluation_draws_no_random_number(data_path: Path) -> None:
    run = random_graph(data_path, edge_keep_rate=0.5)
    run.model.eval()
    before = torch.get_rng_state()
    run.model.full_sort_predict(one_batch(run))
    # The loader draws from its own generator.
    assert torch.equal(before, torch.get_rng_state())


def test_the_full_l2_term_is_that_of_all_tables(data_path: Path) -> None:
    run = random_graph(data_path, reg_form="full", reg_weight=0.25)
    model, batch = run.model, one_batch(run)
    without = random_graph(data_path, reg_form="full", reg_weight=0.0).model
    without.load_state_dict(model.state_dict())
    loss, ranking = model.calculate_loss(batch), without.calculate_loss(batch)
    tables = (model.user_embedding.weight, model.item_embedding.weight)
    norms = sum(float(value.detach()) ** 2 for table in tables for row in table for value in row)
    assert (loss - ranking).item() == pytest.approx(0.25 * norms, rel=1e-5)
    loss.backward()
    ranking.backward()
    weights = torch.cat([table.detach() for table in tables])
    torch.testing.assert_close(
        gradients(model) - gradients(without), 2 * 0.25 * weights, rtol=1e-4, atol=1e-6
    )
    assert model.reg_weight == 0.25


def test_the_batch_form_has_a_term(data_path: Path) -> None:
    run = random_graph(data_path, reg_weight=0.25)
    batch, model = one_batch(run), run.model
    with_term = float(model.calculate_loss(batch).detach())
    model.reg_weight = 0.0
    assert with_term > float(model.calculate_loss(batch).detach())

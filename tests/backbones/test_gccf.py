"""GCCF: its graph, its layers and their gradient by dense loops, and its width under an aligner."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from alignment.equations import naive
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import one_batch, prepared

from backbones.naive import naive_ranking
from backbones.test_graph import graph_of, graphs
from recbole_darec.backbones.gccf import GCCF
from recbole_darec.backbones.propagation import propagate_layers
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("gccf")).data_path


def run_of(data_path: Path, align: str = "none", **changed: Any) -> Prepared:
    run = prepared(data_path, "GCCF", align=align, reg_weight=0.01, **changed)
    torch.manual_seed(17)
    torch.nn.init.normal_(run.model.user_embedding.weight)
    torch.nn.init.normal_(run.model.item_embedding.weight)
    return run


def naive_neighbours(
    pairs: list[tuple[int, int]], n_users: int, n_items: int
) -> list[dict[int, float]]:
    """For each node its neighbours, itself among them, with their weight."""
    neighbours: list[set[int]] = [{node} for node in range(n_users + n_items)]
    for user, item in pairs:
        neighbours[user].add(n_users + item)
        neighbours[n_users + item].add(user)
    return [
        {other: 1.0 / math.sqrt(len(own) * len(neighbours[other])) for other in own}
        for own in neighbours
    ]


def naive_layers(ego: Any, neighbours: list[dict[int, float]], n_layers: int) -> list[Any]:
    layers = [ego]
    for _ in range(n_layers):
        last = layers[-1]
        layers.append(
            [
                [math.fsum(w * last[n][j] for n, w in own.items()) for j in range(len(last[0]))]
                for own in neighbours
            ]
        )
    return layers


# ---- graph -------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_degree_counts_the_self_loop(graph: tuple) -> None:
    built = graph_of(*graph, self_loops=True).matrix().to_dense()
    for node, own in enumerate(naive_neighbours(*graph)):
        row = [own.get(other, 0.0) for other in range(len(built))]
        # RecBole's 1e-7 beside each degree is kept.
        assert built[node].tolist() == pytest.approx(row, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_a_dropped_graph_with_loops_and_its_transpose_mirror_each_other(
    graph: tuple, keep_rate: float, seed: int
) -> None:
    torch.manual_seed(seed)
    built = graph_of(*graph, self_loops=True)
    matrix, transpose = (m.to_dense() for m in built.drop_edges(keep_rate))
    assert torch.equal(matrix.T, transpose)
    whole = built.matrix().to_dense()
    assert torch.equal(matrix, torch.where(matrix != 0, whole, 0.0))
    # Numbered, the edges tell whether the mirror images are the right ones.
    numbered = torch.arange(1.0, 1 + len(built.columns))
    mirrored = built.matrix(numbered[built.transpose_order]).to_dense()
    assert torch.equal(built.matrix(numbered).to_dense().T, mirrored)


def test_a_graph_with_loops_has_no_subgraph_of_interactions() -> None:
    pairs = [(0, 0), (1, 0)]
    kept = torch.tensor([True, False])
    assert len(graph_of(pairs, 2, 1).subgraph(kept).columns) == 2
    looped = graph_of(pairs, 2, 1, self_loops=True)
    for graph in (looped, looped.to("cpu")):
        with pytest.raises(ValueError, match="self-loops has no subgraph"):
            graph.subgraph(kept)


# ---- layers ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    graphs(),
    st.integers(0, 4),
    st.sampled_from([1.0, 0.6]),
    st.booleans(),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_layers_and_gradient_are_those_of_dense_products(
    graph: tuple, n_layers: int, keep_rate: float, loops: bool, used: list[bool]
) -> None:
    """Also where a loss looks at some of the layers only."""
    built = graph_of(*graph, self_loops=True) if loops else graph_of(*graph)
    generator = torch.Generator().manual_seed(3)
    ego = torch.randn(built.n_nodes, 5, generator=generator, requires_grad=True)
    weights = torch.randn(n_layers + 1, built.n_nodes, 5, generator=generator)
    torch.manual_seed(11)
    layers = propagate_layers(ego, built, n_layers, keep_rate=keep_rate)
    assert len(layers) == n_layers + 1

    torch.manual_seed(11)
    matrix = built.drop_edges(keep_rate)[0] if keep_rate < 1 else built.matrix()
    same = ego.detach().double().requires_grad_()
    expected = [same]
    for _ in range(n_layers):
        expected.append(matrix.to_dense().double() @ expected[-1])
    for layer, wanted in zip(layers, expected):
        torch.testing.assert_close(layer.double(), wanted, rtol=1e-5, atol=1e-6)

    looked_at = [n for n in range(n_layers + 1) if used[n]]
    if not looked_at:
        return
    sum((layers[n] * weights[n]).sum() for n in looked_at).backward()
    sum((expected[n] * weights[n].double()).sum() for n in looked_at).backward()
    torch.testing.assert_close(ego.grad.double(), same.grad, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_concatenated_layers_is_that_of_finite_differences() -> None:
    graph = graph_of([(0, 0), (0, 1), (2, 1)], 3, 2, self_loops=True)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 6, generator=generator).double()

    def value(x: torch.Tensor) -> torch.Tensor:
        wide = torch.cat(propagate_layers(x, graph, 2), dim=1).double()
        return (wide.square() * weight).sum()

    ego = torch.randn(5, 2, generator=generator, requires_grad=True)
    value(ego).backward()
    for row in range(5):
        for column in range(2):
            step = torch.zeros(5, 2)
            step[row, column] = 1e-2
            # The value is quadratic: a central difference is exact up to rounding in float32.
            slope = (value(ego.detach() + step) - value(ego.detach() - step)) / 2e-2
            assert float(ego.grad[row, column]) == pytest.approx(float(slope), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_layers_stay_in_float32_under_mixed_precision(dtype: torch.dtype) -> None:
    graph = graph_of([(0, 0), (1, 0), (1, 1)], 2, 2, self_loops=True)
    ego = torch.randn(4, 3).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layers = propagate_layers(ego, graph, 2)
    for layer, expected in zip(layers, propagate_layers(ego.detach().float(), graph, 2)):
        assert layer.dtype == torch.float32
        assert torch.equal(layer, expected)
    torch.cat(layers, 1).sum().backward()
    assert ego.grad.dtype == dtype
    assert bool(ego.grad.isfinite().all())


# ---- the model ---------------------------------------------------------------------------------


def expected_final(run: Prepared) -> tuple[torch.Tensor, torch.Tensor]:
    """The concatenated layers by loops over the training interactions."""
    model = run.model
    pairs = run.train_data._dataset.inter_matrix(form="coo")
    neighbours = naive_neighbours(
        list(zip(pairs.row.tolist(), pairs.col.tolist())), model.n_users, model.n_items
    )
    ego = model.get_ego_embeddings().detach().double().tolist()
    layers = naive_layers(ego, neighbours, model.n_layers)
    wide = torch.cat([torch.tensor(layer, dtype=torch.float64) for layer in layers], dim=1)
    users, items = wide.split([model.n_users, model.n_items])
    return users, items


@pytest.mark.parametrize("reg_form", ["batch", "full"])
@pytest.mark.parametrize("n_layers", [0, 2])
def test_loss_and_scores_are_the_loops_over_neighbours_and_batch(
    n_layers: int, reg_form: str, data_path: Path
) -> None:
    run = run_of(data_path, n_layers=n_layers, reg_form=reg_form)
    model, batch = run.model, one_batch(run)
    assert isinstance(model, GCCF)
    users, items = expected_final(run)
    assert users.shape[1] == (n_layers + 1) * 8
    wanted = naive_ranking(users, items, batch) / len(batch["user_id"])
    tables = [model.user_embedding.weight.detach(), model.item_embedding.weight.detach()]
    if reg_form == "full":
        wanted += 0.01 * math.fsum(float(x) ** 2 for table in tables for row in table for x in row)
    else:
        names = ("user_id", "item_id", "neg_item_id")
        rows = [tables[n > 0][batch[name]] for n, name in enumerate(names)]
        wanted += 0.01 * sum(float(r.norm()) for r in rows) / len(batch["user_id"])
    assert float(model.calculate_loss(batch).detach()) == pytest.approx(wanted, rel=1e-5)

    model.eval()
    scores = model.full_sort_predict(batch).view(len(batch["user_id"]), -1)
    torch.testing.assert_close(
        scores.double(), users[batch["user_id"]] @ items.T, rtol=1e-4, atol=1e-4
    )
    # The paper's residual prediction: the sum of the layers' inner products.
    user, item = users[batch["user_id"][0]].tolist(), items[batch["item_id"][0]].tolist()
    by_layer = [
        naive.dot(user[n * 8 : n * 8 + 8], item[n * 8 : n * 8 + 8]) for n in range(n_layers + 1)
    ]
    pair = float(model.predict(batch)[0].detach())
    assert pair == pytest.approx(math.fsum(by_layer), rel=1e-4, abs=1e-4)


def test_edges_are_dropped_in_training_alone(data_path: Path) -> None:
    model = run_of(data_path, edge_keep_rate=0.5).model
    whole = expected_final(run_of(data_path))[0]
    model.eval()
    before = torch.get_rng_state()
    torch.testing.assert_close(model.forward()[0].double(), whole, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)
    model.train()
    torch.manual_seed(1)
    first, second = model.forward()[0], model.forward()[0]
    torch.manual_seed(1)
    assert torch.equal(first, model.forward()[0])
    assert not torch.equal(first, second)
    assert torch.equal(first[:, :8], model.user_embedding.weight), "layer 0 is the table"


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_an_aligner_is_told_both_widths(n_layers: int, data_path: Path) -> None:
    run = run_of(data_path, align="darec", n_layers=n_layers, align_sample="all")
    assert run.model._access.width == (n_layers + 1) * 8
    assert run.model._access.ego_width == 8
    seen = []
    losses = run.model.aligner.losses
    run.model.aligner.losses = lambda step: seen.append(step.collaborative) or losses(step)
    parts = run.model.calculate_loss(one_batch(run))
    users, items = expected_final(run)
    torch.testing.assert_close(
        seen[0].detach().double(), torch.cat([users[1:], items[1:]]), rtol=1e-4, atol=1e-5
    )
    sum(part.sum() for part in parts[:-1]).backward()
    assert bool((run.model.user_embedding.weight.grad[1:] != 0).all())


def test_the_papers_preset_keeps_all_edges() -> None:
    values = resolve("GCCF", "ml-100k", None, {"preset": "paper", "align": "none"}).values
    wanted = {"n_layers": 2, "reg_weight": 1e-6, "edge_keep_rate": 1.0, "reg_form": "full"}
    assert {name: values[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"edge_keep_rate": 0.0}, "edge_keep_rate=0.0 must be above 0 and at most 1"),
        (
            {"layer_aggregation": "sum"},
            "'layer_aggregation' .* belongs to LightGCN, .* not to GCCF",
        ),
    ],
)
def test_bad_options_are_answered_by_name(changed: dict, words: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        run_of(data_path, **changed)

"""SimGCL: its noise, its gradient through the noise, and both forms of its contrast."""

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

from backbones.naive import dense, naive_contrast, naive_ranking
from backbones.test_graph import graph_of, graphs
from recbole_darec.backbones.noise import noisy_views
from recbole_darec.backbones.propagation import aggregate_over
from recbole_darec.backbones.simgcl import SimGCL
from recbole_darec.errors import OptionError
from recbole_darec.run import Prepared

RLMREC = {
    "include_ego": True,
    "contrast_candidates": "all",
    "contrast_negatives": True,
    "reg_form": "full",
    "noise_eps": 0.9,
}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("simgcl")).data_path


def run_of(data_path: Path, **changed: Any) -> Prepared:
    run = prepared(data_path, "SimGCL", align="none", reg_weight=0.01, **changed)
    torch.manual_seed(17)
    torch.nn.init.normal_(run.model.user_embedding.weight)
    torch.nn.init.normal_(run.model.item_embedding.weight)
    return run


def expected_views(
    ego: torch.Tensor,
    matrix: torch.Tensor,
    n_layers: int,
    noise: float,
    include_ego: bool,
    n_views: int = 2,
) -> list[torch.Tensor]:
    """Equations (6) and (7) by dense float64 products, with the draws that the seed gives."""
    n_nodes, width = ego.shape
    draws = [torch.rand(n_nodes, n_views, width).double() for _ in range(n_layers)]
    views = []
    for view in range(n_views):
        layer = ego
        layers = [ego if include_ego else 0.0 * ego]
        for draw in draws:
            product = matrix @ layer
            unit = draw[:, view] / draw[:, view].norm(dim=1, keepdim=True)
            layer = product + (noise * product.sign() * unit).detach()
            layers.append(layer)
        views.append(torch.stack(layers).sum(0))
    return views


# ---- noise -------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(graphs(), st.integers(0, 3), st.booleans(), st.integers(1, 3), st.integers(0, 99))
def test_the_views_are_the_dense_products_with_noise_and_so_is_their_gradient(
    graph: tuple, n_layers: int, include_ego: bool, n_views: int, seed: int
) -> None:
    built = graph_of(*graph)
    source = torch.Generator().manual_seed(seed)
    ego = torch.randn(built.n_nodes, 4, generator=source, requires_grad=True)
    weights = torch.randn(n_views, built.n_nodes, 4, generator=source)
    torch.manual_seed(seed)
    views = noisy_views(
        ego, built, n_layers, noise=0.3, how="sum", include_ego=include_ego, n_views=n_views
    )
    (torch.stack(views) * weights).sum().backward()

    same = ego.detach().double().requires_grad_()
    torch.manual_seed(seed)
    expected = expected_views(same, dense(built).double(), n_layers, 0.3, include_ego, n_views)
    (torch.stack(expected) * weights.double()).sum().backward()
    assert len(views) == n_views
    for ours, theirs in zip(views, expected):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ego.grad.double(), same.grad, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    # Linear in the embeddings as long as no sign turns: a wide step has no error but rounding.
    graph = graph_of([(0, 0), (0, 1), (1, 1), (2, 0), (2, 2)], 3, 3)
    ego = (2.0 + torch.rand(6, 3)).requires_grad_()
    weights = torch.randn(2, 6, 3)

    def value(rows: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return (torch.stack(noisy_views(rows, graph, 3, noise=0.5)) * weights).sum()

    (gradient,) = torch.autograd.grad(value(ego), ego)
    for n in range(ego.numel()):
        step = torch.zeros(ego.numel()).index_fill(0, torch.tensor([n]), 1.0).view_as(ego)
        with torch.no_grad():
            slope = (value(ego + step) - value(ego - step)) / 2.0
        assert float(slope) == pytest.approx(float(gradient.view(-1)[n]), rel=1e-3, abs=1e-4)


def test_noise_has_its_length_and_the_sign_of_what_it_is_added_to() -> None:
    graph = graph_of([(u, i) for u in range(8) for i in range(8) if (u + i) % 3], 9, 8)
    ego = torch.randn(17, 5)
    product = graph.matrix() @ ego
    views = noisy_views(ego, graph, 1, noise=0.4, how="sum", include_ego=False)
    for view in views:
        noise = view - product
        lengths = noise.norm(dim=1)
        # User 8 has no edge: its product is zero, and stays so.
        torch.testing.assert_close(lengths[:8], torch.full((8,), 0.4))
        torch.testing.assert_close(lengths[9:], torch.full((8,), 0.4))
        assert torch.equal(view[8], torch.zeros(5))
        assert bool((noise * product >= 0).all())
    assert not torch.equal(*views)


def test_without_noise_the_views_are_the_plain_propagation() -> None:
    graph, ego = graph_of([(0, 0), (0, 1), (2, 1)], 3, 3), torch.randn(6, 4)
    for how in ("mean", "sum"):
        for include_ego in (False, True):
            plain = aggregate_over(ego, [graph] * 3, how=how, include_ego=include_ego)
            for view in noisy_views(ego, graph, 3, noise=0.0, how=how, include_ego=include_ego):
                torch.testing.assert_close(view, plain)


def test_the_mean_without_layer_0_is_over_the_others() -> None:
    graph, ego = graph_of([(0, 0), (0, 1), (2, 1)], 3, 3), torch.randn(6, 4)
    matrix = dense(graph)
    layers = [matrix @ ego, matrix @ matrix @ ego]
    found = aggregate_over(ego, [graph] * 2, how="mean", include_ego=False)
    torch.testing.assert_close(found, (layers[0] + layers[1]) / 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_views_stay_in_float32_under_mixed_precision(dtype: torch.dtype) -> None:
    graph = graph_of([(0, 0), (1, 0), (1, 1)], 2, 2)
    ego = torch.randn(4, 3).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first, second = noisy_views(ego, graph, 2, noise=0.1)
        plain = aggregate_over(ego, [graph] * 2)
    assert first.dtype == second.dtype == plain.dtype == torch.float32
    (first + second + plain).sum().backward()
    assert ego.grad.dtype == dtype
    assert bool(ego.grad.isfinite().all())


# ---- the model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("include_ego", [False, True])
def test_ranking_is_by_the_propagation_without_noise(include_ego: bool, data_path: Path) -> None:
    run = run_of(data_path, include_ego=include_ego)
    model, batch = run.model, one_batch(run)
    assert isinstance(model, SimGCL)
    before = torch.get_rng_state()
    model.train()
    trained = torch.cat(model.forward())
    model.eval()
    scores = model.full_sort_predict(batch).view(len(batch["user_id"]), -1)
    assert torch.equal(torch.get_rng_state(), before)
    ego, matrix = model.get_ego_embeddings().detach().double(), dense(model.graph).double()
    expected = matrix @ ego + matrix @ matrix @ ego + (ego if include_ego else 0.0)
    torch.testing.assert_close(trained.double(), expected, rtol=1e-5, atol=1e-5)
    users, items = expected.split([model.n_users, model.n_items])
    torch.testing.assert_close(
        scores.double(), users[batch["user_id"]] @ items.T, rtol=1e-4, atol=1e-4
    )
    pairs = model.predict(batch)
    torch.testing.assert_close(pairs, scores.gather(1, batch["item_id"].unsqueeze(1)).squeeze(1))


@pytest.mark.parametrize("negatives", [False, True])
@pytest.mark.parametrize("candidates", ["batch", "all"])
@pytest.mark.parametrize("include_ego", [False, True])
def test_the_loss_is_the_loop_over_the_batch(
    candidates: str, negatives: bool, include_ego: bool, data_path: Path
) -> None:
    run = run_of(
        data_path,
        contrast_candidates=candidates,
        contrast_negatives=negatives,
        include_ego=include_ego,
        noise_eps=0.9,
        ssl_tau=0.25,
        ssl_weight=0.7,
        reg_form="full",
        train_batch_size=30,
    )
    model, batch = run.model, one_batch(run)
    torch.manual_seed(9)
    ranking, contrast = model.calculate_loss(batch)

    ego, matrix = model.get_ego_embeddings().detach().double(), dense(model.graph).double()
    torch.manual_seed(9)
    sizes = [model.n_users, model.n_items]
    views = expected_views(ego, matrix, model.n_layers, 0.9, include_ego)
    first, second = (view.split(sizes) for view in views)
    final = aggregate_over(
        ego.float(), [model.graph] * model.n_layers, how="sum", include_ego=include_ego
    )
    users, items = final.double().split(sizes)
    wanted = naive_ranking(users, items, batch) / 30
    wanted += 0.01 * math.fsum(float(x) ** 2 for row in ego for x in row)
    assert float(ranking.detach()) == pytest.approx(wanted, rel=1e-5)

    seen = [batch["item_id"]] + ([batch["neg_item_id"]] if negatives else [])
    wanted = 0.0
    for kind, ids in ((0, batch["user_id"]), (1, torch.cat(seen))):
        if candidates == "all":
            # Without the padding in row 0.
            wanted += naive_contrast(first[kind][1:], second[kind][1:], ids - 1, 0.25) / 30
        else:
            rows = sorted(set(ids.tolist()))
            assert len(rows) < len(ids)
            within = (first[kind][rows], second[kind][rows], torch.arange(len(rows)))
            wanted += naive_contrast(*within, 0.25) / len(rows)
    assert float(contrast.detach()) == pytest.approx(0.7 * wanted, rel=1e-4)


def test_views_are_drawn_in_each_step_from_the_seed(data_path: Path) -> None:
    run = run_of(data_path, **RLMREC)
    model, batch = run.model, one_batch(run)
    torch.manual_seed(0)
    drawn = [[float(x.detach()) for x in model.calculate_loss(batch)] for _ in range(2)]
    torch.manual_seed(0)
    again = [[float(x.detach()) for x in model.calculate_loss(batch)] for _ in range(2)]
    assert drawn == again
    assert drawn[0][0] == drawn[1][0], "the ranking loss sees no noise"
    assert drawn[0][1] != drawn[1][1]


def test_the_contrast_pulls_a_rows_views_together_and_others_apart(data_path: Path) -> None:
    run = run_of(data_path, ssl_weight=1.0)
    model, batch = run.model, one_batch(run)
    users = sorted(set(batch["user_id"].tolist()))

    def spread() -> float:
        rows = model.forward()[0].detach()[users].tolist()
        pairs = [(a, b) for a in range(len(rows)) for b in range(a)]
        return math.fsum(naive.cosine(rows[a], rows[b]) ** 2 for a, b in pairs) / len(pairs)

    before = spread()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(20):
        loss = model.calculate_loss(batch)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert spread() < before


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n_layers": 0}, "n_layers=0 with include_ego=False leaves no layer to rank by"),
        ({"noise_eps": -0.1}, "noise_eps=-0.1 must be at least 0"),
        ({"ssl_tau": 0.0}, "ssl_tau=0.0 must be above 0"),
        ({"contrast_candidates": "some"}, "contrast_candidates='some' must be one of batch, all"),
    ],
)
def test_bad_options_are_answered_by_name(changed: dict, words: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        run_of(data_path, **changed)

"""AutoCF: mask scores, masks, attention and losses against loops; when the mask is renewed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alignment.equations import naive
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import one_batch, options, prepared

from backbones.test_graph import graphs
from recbole_darec.backbones import autocf
from recbole_darec.backbones.autocf import AutoCF, graph_attention, spread
from recbole_darec.backbones.autocf_masking import (
    decoder_pattern,
    encoder_graph,
    gumbel_top,
    log_relatedness,
    masked_region,
    unweighted,
)
from recbole_darec.backbones.edges import EdgePattern
from recbole_darec.backbones.graph import BipartiteGraph
from recbole_darec.errors import OptionError
from recbole_darec.run import Prepared, prepare
from recbole_darec.settings.layers import resolve

Edges = set[tuple[int, int]]


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("autocf")).data_path


def run_of(data_path: Path, **changed: Any) -> Prepared:
    given = {"n_seeds": 3, "mask_depth": 2, "mask_every": 3, "reg_weight": 0.01, **changed}
    run = prepared(data_path, "AutoCF", align="none", **given)
    torch.manual_seed(17)
    for value in run.model.parameters():
        torch.nn.init.normal_(value, std=0.5)
    return run


def built(graph: tuple, self_loops: bool) -> BipartiteGraph:
    pairs, n_users, n_items = graph
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return BipartiteGraph.from_interactions(users, items, n_users, n_items, self_loops=self_loops)


def edges_of(pattern: EdgePattern) -> Edges:
    return set(zip(pattern.rows.tolist(), pattern.columns.tolist()))


def edges_of_graph(graph: BipartiteGraph) -> Edges:
    return edges_of(EdgePattern.of(graph))


# ---- mask scores -------------------------------------------------------------------------------


def naive_relatedness(ego: list[list[float]], edges: Edges) -> list[float]:
    """The sums, one neighbour after the other."""
    n_nodes, width = len(ego), len(ego[0])
    neighbours = [[j for i, j in sorted(edges) if i == node] for node in range(n_nodes)]

    def summed(rows: list[list[float]]) -> list[list[float]]:
        return [
            [math.fsum(rows[j][c] for j in own) for c in range(len(rows[0]))] for own in neighbours
        ]

    def minus(left: list[list[float]], right: list[list[float]]) -> list[list[float]]:
        return [[a - b for a, b in zip(x, y)] for x, y in zip(left, right)]

    order = [[float(len(own))] for own in neighbours]
    first = minus(summed(ego), ego)
    times = [[order[n][0] * ego[n][c] for c in range(width)] for n in range(n_nodes)]
    second = minus(minus(summed(first), first), times)
    second_number = minus(minus(summed(order), order), order)
    found = []
    for n in range(n_nodes):
        number = order[n][0] + second_number[n][0] + 1e-8
        subgraph = [(a + b) / number for a, b in zip(first[n], second[n])]
        found.append(-math.log1p(math.exp(-naive.cosine(subgraph, ego[n]))))
    return found


@settings(max_examples=50)
@given(graphs(), st.booleans(), st.integers(0, 99))
def test_the_scores_are_their_loops(graph: tuple, self_loops: bool, seed: int) -> None:
    adjacency = unweighted(built(graph, self_loops))
    source = torch.Generator().manual_seed(seed)
    # Whole numbers, whose sums are exact: where a subgraph is zero, it is exactly zero.
    ego = torch.randint(-9, 10, (adjacency.n_nodes, 3), generator=source).float()
    expected = naive_relatedness(ego.double().tolist(), edges_of_graph(adjacency))
    assert log_relatedness(ego, adjacency).tolist() == pytest.approx(expected, abs=1e-5)


@given(graphs())
def test_with_self_loops_the_first_order_is_the_neighbours_sum(graph: tuple) -> None:
    # Of e the walk of two steps brings back one too few: f + s is Σ_2 + Σ_1 - e.
    adjacency = built(graph, self_loops=True)
    edges = edges_of_graph(built(graph, self_loops=False))
    ego = torch.randn(adjacency.n_nodes, 4, dtype=torch.float64)
    expected = []
    for node in range(len(ego)):
        near = [j for i, j in edges if i == node]
        subgraph = -ego[node]
        for j in near:
            subgraph = subgraph + ego[j]
            for i, k in edges:
                if i == j and k != node:
                    subgraph = subgraph + ego[k]
        expected.append(-math.log1p(math.exp(-naive.cosine(subgraph.tolist(), ego[node].tolist()))))
    found = log_relatedness(ego.float(), unweighted(adjacency))
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_scores_gradient_is_the_dense_one() -> None:
    graph = built(([(0, 0), (0, 1), (1, 1), (2, 0), (2, 2), (2, 1)], 4, 3), self_loops=True)
    adjacency = unweighted(graph)
    ego, weights = torch.randn(7, 5, requires_grad=True), torch.randn(7)
    (log_relatedness(ego, adjacency) * weights).sum().backward()

    matrix = adjacency.matrix().to_dense().double()
    same = ego.detach().double().requires_grad_()
    order = matrix.sum(1, keepdim=True)
    first = matrix @ same - same
    second = matrix @ first - first - order * same
    number = matrix @ order - order
    cosine = torch.nn.functional.cosine_similarity((first + second) / (number + 1e-8), same)
    (cosine.sigmoid().log() * weights.double()).sum().backward()
    assert float(same.grad.abs().max()) > 1e-2
    torch.testing.assert_close(ego.grad.double(), same.grad, rtol=1e-4, atol=1e-5)


def test_seeds_are_drawn_in_proportion_to_their_scores_without_replacement() -> None:
    torch.manual_seed(3)
    scores = torch.tensor([0.6, 0.3, 0.1])
    first = torch.cat([gumbel_top(scores.log(), 1) for _ in range(4000)])
    shares = torch.bincount(first, minlength=3) / 4000
    torch.testing.assert_close(shares, scores, rtol=0.0, atol=0.03)
    for count in range(4):
        drawn = gumbel_top(scores.log(), count).tolist()
        assert len(set(drawn)) == len(drawn) == count


def test_a_score_of_zero_is_drawn_last() -> None:
    scores = torch.tensor([0.0, 1e-30, 1.0]).log()
    assert all(0 not in gumbel_top(scores, 2).tolist() for _ in range(50))


# ---- masks -------------------------------------------------------------------------------------

regions = st.tuples(
    graphs(), st.booleans(), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99)
)


def drawn_region(given: tuple) -> tuple[BipartiteGraph, EdgePattern, torch.Tensor, int]:
    graph, self_loops, depth, n_seeds, seed = given
    whole = built(graph, self_loops)
    source = torch.Generator().manual_seed(seed)
    seeds = torch.randperm(whole.n_nodes, generator=source)[:n_seeds]
    return whole, EdgePattern.of(whole), seeds, depth


@given(regions)
def test_a_region_is_what_the_hops_cut_out_edge_by_edge(given: tuple) -> None:
    _, pattern, seeds, depth = drawn_region(given)
    left, reached, nodes = edges_of(pattern), set(seeds.tolist()), set(seeds.tolist())
    for hop in range(depth):
        removed = {(i, j) for i, j in left if i in nodes or j in nodes}
        left -= removed
        if hop < depth - 1:
            nodes = {node for edge in removed for node in edge}
            reached |= nodes
    kept, masked = masked_region(pattern, seeds, depth)
    found = {edge for edge, there in zip(_in_order(pattern), kept.tolist()) if there}
    assert found == left
    assert set(masked.nonzero().squeeze(1).tolist()) == reached


def _in_order(pattern: EdgePattern) -> list[tuple[int, int]]:
    return list(zip(pattern.rows.tolist(), pattern.columns.tolist()))


@given(regions)
def test_an_edge_is_left_if_and_only_if_neither_end_is_reached(given: tuple) -> None:
    _, pattern, seeds, depth = drawn_region(given)
    kept, masked = masked_region(pattern, seeds, depth)
    assert torch.equal(kept, ~(masked[pattern.rows] | masked[pattern.columns]))
    assert bool(masked[seeds].all())
    assert torch.equal(kept, kept[pattern.transpose_order]), "both directions or none"
    if depth > 1:
        shallower, fewer = masked_region(pattern, seeds, depth - 1)
        assert bool((shallower | ~kept).all())
        assert bool((masked | ~fewer).all())


@given(regions)
def test_the_encoders_graph_is_normalised_by_the_degrees_that_are_left(given: tuple) -> None:
    whole, pattern, seeds, depth = drawn_region(given)
    kept, _ = masked_region(pattern, seeds, depth)
    left = {edge for edge, there in zip(_in_order(pattern), kept.tolist()) if there}
    degree = [sum(i == node for i, _ in left) for node in range(whole.n_nodes)]
    expected = torch.zeros(whole.n_nodes, whole.n_nodes)
    for i, j in left:
        expected[i, j] = 1.0 / math.sqrt(degree[i] * degree[j])
    graph = encoder_graph(whole, pattern, kept)
    torch.testing.assert_close(graph.matrix().to_dense(), expected)
    values = torch.arange(1.0, len(graph.values) + 1)
    mirrored = graph.matrix(values[graph.transpose_order]).to_dense()
    assert torch.equal(mirrored, graph.matrix(values).to_dense().T)


@given(regions)
def test_the_decoder_sees_the_rest_the_nodes_themselves_and_random_masked_pairs(
    given: tuple,
) -> None:
    whole, pattern, seeds, depth = drawn_region(given)
    kept, masked = masked_region(pattern, seeds, depth)
    nodes = masked.nonzero().squeeze(1)
    torch.manual_seed(0)
    found = decoder_pattern(pattern, kept, nodes)
    torch.manual_seed(0)
    drawn = torch.randint(len(nodes), (2, len(pattern.columns)))
    random = {(int(nodes[a]), int(nodes[b])) for a, b in drawn.T.tolist()}
    assert len(drawn.T) == len(edges_of(pattern)), "as many as there are edges"
    expected = {edge for edge, there in zip(_in_order(pattern), kept.tolist()) if there}
    expected |= {(n, n) for n in range(whole.n_nodes)} | random | {(j, i) for i, j in random}
    assert _in_order(found) == sorted(expected), "each pair once"


# ---- attention ---------------------------------------------------------------------------------


def naive_attention(edges: Edges, q: Any, k: Any, v: Any, n_heads: int) -> torch.Tensor:
    n_nodes, width = v.shape
    share = width // n_heads
    out = torch.zeros_like(v)
    for node in range(n_nodes):
        for head in range(n_heads):
            own = slice(head * share, (head + 1) * share)
            weights = {}
            for i, j in edges:
                if i == node:
                    score = naive.dot(q[node, own].tolist(), k[j, own].tolist())
                    weights[j] = math.exp(max(-10.0, min(10.0, score)))
            total = math.fsum(weights.values()) + 1e-8
            for j, weight in weights.items():
                out[node, own] += weight / total * v[j, own]
    return out


@settings(max_examples=40)
@given(graphs(), st.sampled_from([1, 2, 4]), st.sampled_from([0.5, 5.0]), st.integers(0, 99))
def test_attention_is_the_loop_over_the_pairs(
    graph: tuple, n_heads: int, scale: float, seed: int
) -> None:
    pattern = EdgePattern.of(built(graph, self_loops=False))
    source = torch.Generator().manual_seed(seed)
    shape = (pattern.n_nodes, 4)
    # With the larger scale many scores are cut off.
    q, k, v = (scale * torch.randn(shape, generator=source).double() for _ in range(3))
    expected = naive_attention(edges_of(pattern), q, k, v, n_heads)
    torch.testing.assert_close(graph_attention(pattern, q, k, v, n_heads), expected)
    single = graph_attention(pattern, q.float(), k.float(), v.float(), n_heads)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=1e-4)


def test_attentions_gradient_is_that_of_finite_differences() -> None:
    # A pattern that is not symmetric, and a node without pairs.
    rows, columns = torch.tensor([[0, 0, 1, 2, 2, 4], [1, 3, 0, 2, 4, 0]])
    pattern = EdgePattern.from_edges(rows, columns, 5)
    inputs = [torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda q, k, v: graph_attention(pattern, q, k, v, 2), inputs)


def test_a_score_that_is_cut_off_passes_no_gradient() -> None:
    pattern = EdgePattern.from_edges(torch.tensor([0, 0]), torch.tensor([0, 1]), 2)
    query = torch.tensor([[4.0], [1.0]], requires_grad=True)
    key, value = torch.tensor([[9.0], [1.0]], requires_grad=True), torch.tensor([[1.0], [2.0]])
    graph_attention(pattern, query, key, value, 1).sum().backward()
    assert float(key.grad[0]) == 0.0
    assert float(key.grad[1]) != 0.0
    assert float(query.grad[0]) != 0.0


# ---- contrast ----------------------------------------------------------------------------------


def naive_spread(rows: Any, candidates: Any, ids: list[int]) -> float:
    terms = [
        math.log(math.fsum(math.exp(naive.dot(rows[n].tolist(), c.tolist())) for c in candidates))
        for n in ids
    ]
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("distinct", [True, False])
def test_the_contrast_is_the_loop_over_the_batch(
    distinct: bool, merged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not merged:  # as on an accelerator
        monkeypatch.setattr(autocf, "counted", lambda ids: (ids, None))
    rows, candidates = torch.randn(6, 3), torch.randn(9, 3)
    ids = torch.tensor([4, 1, 4, 5, 4])
    found = spread(rows, candidates, ids, distinct=distinct)
    wanted = naive_spread(
        rows.double(), candidates.double(), [1, 4, 5] if distinct else ids.tolist()
    )
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    assert float(spread(rows, candidates, ids[:0], distinct=distinct)) == 0.0


def test_large_embeddings_do_not_overflow() -> None:
    rows = torch.full((2, 4), 50.0, requires_grad=True)
    found = spread(rows, rows, torch.tensor([0, 1]), distinct=True)
    found.backward()
    assert float(found.detach()) == pytest.approx(1e4 + math.log(2.0))
    assert bool(rows.grad.isfinite().all())


# ---- the model ---------------------------------------------------------------------------------


def expected_embeddings(
    model: Any, matrix: torch.Tensor, edges: Edges
) -> tuple[torch.Tensor, torch.Tensor]:
    """All layers by dense products and loops in float64, added up."""
    layers = [model.get_ego_embeddings().detach().double()]
    for _ in range(model.n_layers):
        layers.append(matrix.double() @ layers[-1])
    for layer in model.decoder:
        q, k, v = (
            layers[-1] @ m.weight.detach().double().T for m in (layer.query, layer.key, layer.value)
        )
        layers.append(naive_attention(edges, q, k, v, model.options.n_heads))
    users, items = torch.stack(layers).sum(0).split([model.n_users, model.n_items])
    return users, items


@pytest.mark.parametrize("reg_form", ["batch", "full"])
def test_the_loss_is_the_loop_over_the_batch(reg_form: str, data_path: Path) -> None:
    run = run_of(
        data_path, ssl_weight=0.7, reg_form=reg_form, train_batch_size=20, gt_layers=2, n_heads=2
    )
    model, batch = run.model, one_batch(run)
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.2)
    model.train()
    parts = model.calculate_loss(batch)
    encoder, decoder = model.masked_graphs
    assert len(encoder.columns) < len(model.graph.columns)
    users, items = expected_embeddings(model, encoder.matrix().to_dense(), edges_of(decoder))
    user, item = batch["user_id"], batch["item_id"]
    assert len(set(user.tolist())) < len(user)
    assert len(set(item.tolist())) < len(item)

    pairs = zip(users[user].tolist(), items[item].tolist())
    wanted = -math.fsum(naive.dot(u, i) for u, i in pairs) / len(user)
    if reg_form == "full":
        values = [value for name, value in model.named_parameters()]
        wanted += 0.01 * math.fsum(float(x) ** 2 for v in values for x in v.detach().reshape(-1))
    else:
        tables = ("user_embedding", "user_id"), ("item_embedding", "item_id")
        tables += (("item_embedding", "neg_item_id"),)
        norms = [float(getattr(model, t)(batch[n]).detach().norm()) for t, n in tables]
        wanted += 0.01 * math.fsum(norms) / len(user)
    assert float(parts[0].detach()) == pytest.approx(wanted, rel=1e-4)

    # The padding in row 0 is no candidate.
    within = naive_spread(users, users[1:], sorted(set(user.tolist())))
    within += naive_spread(items, items[1:], sorted(set(item.tolist())))
    wanted = 0.7 * within + naive_spread(users, items[1:], user.tolist())
    assert float(parts[1].detach()) == pytest.approx(wanted, rel=1e-4)

    ego = model.get_ego_embeddings().detach().double().tolist()
    scores = naive_relatedness(ego, edges_of(model.pattern))
    real = [s for n, s in enumerate(scores) if n not in (0, model.n_users)]
    assert float(parts[2].detach()) == pytest.approx(-math.fsum(real) / len(real), rel=1e-4)


@pytest.mark.parametrize("self_loops", [True, False])
def test_ranking_is_by_the_whole_graph_and_draws_nothing(self_loops: bool, data_path: Path) -> None:
    run = run_of(data_path, self_loops=self_loops)
    model, batch = run.model, one_batch(run)
    assert isinstance(model, AutoCF)
    model.train()
    model.calculate_loss(batch)
    model.eval()
    before = torch.get_rng_state()
    scores = model.full_sort_predict(batch).view(len(batch["user_id"]), -1)
    pairs = model.predict(batch)
    infomax = model.calculate_loss(batch)[2]
    assert torch.equal(torch.get_rng_state(), before)
    assert float(infomax) == 0.0
    edges = edges_of(model.pattern)
    n_nodes = model.n_users + model.n_items
    assert all(((n, n) in edges) == self_loops for n in range(n_nodes))
    degree = [sum(i == n for i, _ in edges) for n in range(n_nodes)]
    matrix = torch.zeros(n_nodes, n_nodes)
    for i, j in edges:
        matrix[i, j] = 1.0 / math.sqrt(degree[i] * degree[j])
    users, items = expected_embeddings(model, matrix, edges)
    torch.testing.assert_close(
        scores.double(), users[batch["user_id"]] @ items.T, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(pairs, scores.gather(1, batch["item_id"].unsqueeze(1)).squeeze(1))


def test_the_mask_is_renewed_every_so_many_steps_and_at_an_epochs_start(data_path: Path) -> None:
    run = run_of(data_path, mask_every=3)
    model, batch = run.model, one_batch(run)
    model.train()
    drawn, infomax = [], []
    for step in range(7):
        infomax.append(float(model.calculate_loss(batch)[2].detach()))
        drawn.append(model.masked_graphs)
        assert step == 0 or (drawn[-1] is not drawn[-2]) == (step % 3 == 0)
    assert [value != 0.0 for value in infomax] == [step % 3 == 0 for step in range(7)]
    model.calculate_loss(batch)
    model.train()
    assert float(model.calculate_loss(batch)[2].detach()) != 0.0
    assert model.masked_graphs is not drawn[-1]
    assert not torch.equal(model.masked_graphs[1].columns, drawn[-1][1].columns)


def test_an_epochs_masks_are_those_of_the_restored_random_state(data_path: Path) -> None:
    run = run_of(data_path, mask_every=2)
    model, batch = run.model, one_batch(run)
    model.train()
    model.calculate_loss(batch)  # the epoch before, not a whole number of masks
    state, kept = torch.get_rng_state(), []
    for _ in range(2):
        torch.set_rng_state(state)
        model.train()
        parts = [model.calculate_loss(batch) for _ in range(3)]
        kept.append([[float(p.detach()) for p in part] for part in parts])
        model.eval()
    assert kept[0] == kept[1]


@pytest.mark.parametrize("keep_nodes", [0.0, 1.0])
def test_padding_is_never_masked(keep_nodes: float, data_path: Path) -> None:
    run = run_of(data_path, n_seeds=100, keep_nodes=keep_nodes)
    model = run.model
    padding = {0, model.n_users}
    for _ in range(5):
        model.renew_mask()
        encoder, decoder = model.masked_graphs
        assert all(i == j for i, j in edges_of(decoder) if padding & {i, j})
        # All nodes are seeds: only the padding's self-loops are left.
        assert edges_of_graph(encoder) == {(n, n) for n in padding}


def test_more_seeds_than_nodes_are_all_of_them_and_are_warned_of_once(
    data_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = run_of(data_path, n_seeds=101)
        assert run.model.n_seeds == 100
        run.model.train()
        for batch in run.train_data:
            run.model.calculate_loss(batch)
    warnings = [r.getMessage() for r in caplog.records if "n_seeds" in r.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("n_seeds=101 is more than there are users and items")


@pytest.mark.parametrize(
    ("n_seeds", "mask_depth", "warned"), [(100, 1, True), (30, 2, True), (30, 1, False)]
)
def test_a_mask_that_leaves_few_edges_is_warned_of_once(
    n_seeds: int,
    mask_depth: int,
    warned: bool,
    data_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = run_of(data_path, n_seeds=n_seeds, mask_depth=mask_depth).model
    with caplog.at_level(logging.WARNING):
        model.renew_mask()
        left = [
            len([1 for i, j in edges_of_graph(graph) if i != j])
            for graph in (model.masked_graphs[0], model.graph)
        ]
        model.renew_mask()
    told = [r.getMessage() for r in caplog.records]
    share = left[0] / left[1]
    assert (share < 0.1) is warned
    assert told == (
        [
            f"n_seeds={n_seeds} with mask_depth={mask_depth} leaves the encoder "
            f"{100 * share:.1f} % of the training edges; lower n_seeds"
        ]
        if warned
        else []
    )


def test_the_mask_is_drawn_by_the_embeddings_that_no_aligner_has_masked(data_path: Path) -> None:
    given = options(data_path, align="rlmrec_gen", mask_ratio=0.5, n_seeds=3)
    given = {name: value for name, value in given.items() if not name.startswith("align_")}
    run = prepare(resolve("AutoCF", "tiny", None, given))
    model, batch = run.model, one_batch(run)
    model.train()
    losses = model.calculate_loss(batch)
    parts = dict(zip(model.loss_names, losses))
    tables = torch.cat([model.user_embedding.weight, model.item_embedding.weight])
    scores = log_relatedness(tables, unweighted(model.graph))[model.real_nodes]
    torch.testing.assert_close(parts["base2"], -scores.mean())


def test_the_infomax_loss_makes_nodes_like_their_subgraphs(data_path: Path) -> None:
    run = run_of(data_path)
    model, losses = run.model, []
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(10):
        loss = model.renew_mask()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05
    assert math.log1p(math.exp(-1.0)) < losses[-1] < math.log1p(math.exp(1.0))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n_heads": 3}, "n_heads=3 does not divide embedding_size=8"),
        ({"n_heads": 0}, "n_heads=0 must be at least 1"),
        ({"n_seeds": 0}, "n_seeds=0 must be at least 1"),
        ({"mask_depth": 0}, "mask_depth=0 must be at least 1"),
        ({"mask_every": 0}, "mask_every=0 must be at least 1"),
        ({"gt_layers": 0}, "gt_layers=0 must be at least 1"),
        ({"keep_nodes": 1.5}, "keep_nodes=1.5 must be at least 0 and at most 1"),
        ({"ssl_weight": -1.0}, "ssl_weight=-1.0 must be at least 0"),
    ],
)
def test_bad_options_are_answered_by_name(changed: dict, words: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        run_of(data_path, **changed)

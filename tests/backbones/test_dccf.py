"""DCCF's messages and its contrast, against loops over edges and nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from alignment.equations import naive
from tiny_runs import one_batch, prepared

from backbones.naive import naive_ranking
from backbones.test_graph import graph_of
from recbole_darec.backbones.dccf import VIEWS, intent_messages, masked_messages
from recbole_darec.backbones.edges import EdgePattern
from recbole_darec.errors import OptionError
from recbole_darec.run import Prepared


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("dccf")).data_path


def run_of(data_path: Path, **changed: Any) -> Prepared:
    run = prepared(data_path, "DCCF", align="none", reg_weight=0.01, n_intents=5, **changed)
    torch.manual_seed(17)
    for value in run.model.parameters():
        torch.nn.init.normal_(value, std=0.2)
    return run


def edges_of(pattern: EdgePattern) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {node: [] for node in range(pattern.n_nodes)}
    for row, column in zip(pattern.rows.tolist(), pattern.columns.tolist()):
        found[row].append(column)
    return found


def loop_of_intents(row: naive.Row, intents: naive.Rows) -> list[float]:
    """The prototypes are the columns of ``intents``."""
    prototypes = list(zip(*intents))
    weights = [math.exp(naive.dot(row, prototype)) for prototype in prototypes]
    total = math.fsum(weights)
    return [
        math.fsum(w / total * prototype[n] for w, prototype in zip(weights, prototypes))
        for n in range(len(row))
    ]


def loop_of_masked(
    edges: dict[int, list[int]], views: naive.Rows, nodes: naive.Rows
) -> list[list[float]]:
    messages = []
    for node, ends in edges.items():
        masks = [(naive.cosine(views[node], views[end]) + 1.0) / 2.0 for end in ends]
        message = [0.0] * len(nodes[node])
        for mask, end in zip(masks, ends):
            share = mask / math.fsum(masks)
            message = [m + share * x for m, x in zip(message, nodes[end])]
        messages.append(message)
    return messages


def as_table(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def loop_of_layers(model: Any) -> list[dict[str, torch.Tensor]]:
    """All messages of all layers, and the layers' inputs under ``"in"``."""
    edges, n_users = edges_of(model.pattern), model.n_users
    layer, layers = model.get_ego_embeddings().detach().double(), []
    matrix = model.graph.matrix().to_dense()
    for _ in range(model.n_layers):
        rows = layer.tolist()
        graph = [
            [math.fsum(float(matrix[i, j]) * rows[j][n] for j in ends) for n in range(len(rows[i]))]
            for i, ends in edges.items()
        ]
        intents = [
            loop_of_intents(
                row, (model.user_intents if i < n_users else model.item_intents).tolist()
            )
            for i, row in enumerate(rows)
        ]
        found = {
            "graph": as_table(graph),
            "intents": as_table(intents),
            "graph mask": as_table(loop_of_masked(edges, graph, rows)),
            "intent mask": as_table(loop_of_masked(edges, intents, rows)),
        }
        layers.append({"in": layer, **found})
        layer = layer + sum(found.values())
    layers.append({"in": layer})
    return layers


def test_intents_are_mixed_as_in_the_loop() -> None:
    nodes = torch.randn(6, 3, dtype=torch.float64)
    intents = torch.randn(3, 4, dtype=torch.float64)
    expected = as_table([loop_of_intents(row, intents.tolist()) for row in nodes.tolist()])
    torch.testing.assert_close(intent_messages(nodes, intents), expected)


def test_masked_messages_and_their_gradient_through_the_masks() -> None:
    pattern = EdgePattern.of(graph_of([(0, 0), (0, 1), (1, 1), (2, 0)], 4, 3))
    views, nodes = (torch.randn(7, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = as_table(loop_of_masked(edges_of(pattern), views.tolist(), nodes.tolist()))
    torch.testing.assert_close(masked_messages(pattern, views, nodes), expected)
    # Node 3 is a user without an edge, as the padding is.
    assert expected[3].tolist() == [0.0, 0.0, 0.0]
    assert torch.autograd.gradcheck(lambda v, x: masked_messages(pattern, v, x), (views, nodes))


@pytest.mark.parametrize("seed", range(4))
def test_messages_between_opposite_ends_stay_within_the_nodes(seed: int) -> None:
    # Such masks are 0 but for rounding, which falls on both sides of it: of so many rows, some
    # would have a sum of nearly nothing under masks of both signs.
    pattern = EdgePattern.of(graph_of([(u, i) for u in range(40) for i in range(60)], 40, 60))
    generator = torch.Generator().manual_seed(seed)
    signs = torch.cat([torch.ones(40, 1), -torch.ones(60, 1)])
    lengths = torch.rand(100, 1, generator=generator) + 0.1
    views = (torch.randn(1, 32, generator=generator) * lengths * signs).requires_grad_()
    nodes = torch.randn(100, 32, generator=generator)
    found = masked_messages(pattern, views, nodes)
    assert float(found.detach().abs().max()) <= float(nodes.abs().max()) * 1.00001
    found.sum().backward()
    assert bool(views.grad.isfinite().all())


def test_the_final_embeddings_are_the_sum_of_all_layers(data_path: Path) -> None:
    model = run_of(data_path).model
    layers = loop_of_layers(model)
    users, items, messages = model.forward()
    expected = sum(layer["in"] for layer in layers)
    torch.testing.assert_close(torch.cat([users, items]).double(), expected, rtol=1e-4, atol=1e-4)
    for found, layer in zip(messages, layers):
        for name, rows in found.items():
            torch.testing.assert_close(rows.double(), layer[name], rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_loop_over_views_layers_and_distinct_ids(data_path: Path) -> None:
    run = run_of(data_path, ssl_weight=0.3, ssl_tau=0.5)
    model, batch = run.model, one_batch(run)
    layers = loop_of_layers(model)
    contrast = 0.0
    for layer in layers[:-1]:
        for view in VIEWS:
            for offset, field in ((0, model.USER_ID), (model.n_users, model.ITEM_ID)):
                rows = sorted({int(n) + offset for n in batch[field]})
                first, second = (layer[name][rows].tolist() for name in ("graph", view))
                total = 0.0
                for anchor, positive in zip(first, second):
                    spread = math.fsum(math.exp(naive.cosine(anchor, c) / 0.5) for c in second)
                    total -= naive.cosine(anchor, positive) / 0.5 - math.log(spread)
                contrast += total / len(rows)
    ranking, weighted = model.calculate_loss(batch)
    assert float(weighted.detach()) == pytest.approx(0.3 * contrast, rel=1e-5)
    final = sum(layer["in"] for layer in layers)
    users, items = final[: model.n_users], final[model.n_users :]
    l2 = float(model.l2_term(batch).detach())
    expected = naive_ranking(users, items, batch) / len(batch) + l2
    assert float(ranking.detach()) == pytest.approx(expected, rel=1e-5)


def dense_loss(model: Any, batch: Any, tables: dict[str, torch.Tensor]) -> torch.Tensor:
    """Both parts of the loss by dense products, for PyTorch's own gradient."""
    adjacency = model.graph.matrix().to_dense().double()
    sizes = [model.n_users, model.n_items]
    sides = (
        (model.USER_ID, tables["user_intents"]),
        (model.ITEM_ID, tables["item_intents"]),
    )

    def masked(views: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
        masks = (torch.cosine_similarity(views[:, None], views[None], dim=-1) + 1.0) / 2.0
        masks = masks * (adjacency > 0)
        # The padding has no edge.
        return masks / masks.sum(1, keepdim=True).clamp(min=1e-30) @ nodes

    layer = torch.cat([tables["user_embedding.weight"], tables["item_embedding.weight"]])
    total, loss = layer, layer.new_zeros(())
    for _ in range(model.n_layers):
        graph = adjacency @ layer
        mixed = [
            (rows @ table).softmax(1) @ table.T
            for rows, (_, table) in zip(layer.split(sizes), sides)
        ]
        intents = torch.cat(mixed)
        views = [intents, masked(graph, layer), masked(intents, layer)]
        for view in views:
            for (field, _), ours, theirs in zip(sides, graph.split(sizes), view.split(sizes)):
                rows = batch[field].unique()
                alike = torch.cosine_similarity(ours[rows][:, None], theirs[rows][None], dim=-1)
                target = torch.arange(len(rows))
                loss = loss + torch.nn.functional.cross_entropy(
                    alike / model.options.ssl_tau, target
                )
        layer = layer + graph + sum(views)
        total = total + layer
    users, items = total.split(sizes)
    user = users[batch[model.USER_ID]]
    apart = (user * (items[batch[model.ITEM_ID]] - items[batch[model.NEG_ITEM_ID]])).sum(-1)
    ranking = torch.nn.functional.softplus(-apart).mean()
    squares = sum(table.square().sum() for table in tables.values())
    return ranking + model.reg_weight * squares + model.options.ssl_weight * loss


def test_the_gradient_of_the_loss_is_that_of_dense_products(data_path: Path) -> None:
    # Weights at which each of the three parts has its share of every gradient.
    run = run_of(data_path, ssl_weight=0.3, ssl_tau=0.5, reg_form="full")
    model, batch = run.model, one_batch(run)
    loss = sum(model.calculate_loss(batch))
    loss.backward()
    tables = {
        name: value.detach().double().requires_grad_() for name, value in model.named_parameters()
    }
    expected = dense_loss(model, batch, tables)
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, value in model.named_parameters():
        largest = float(tables[name].grad.abs().max())
        assert largest > 1e-3, name
        torch.testing.assert_close(
            value.grad.double(), tables[name].grad, rtol=1e-3, atol=1e-5 * largest, msg=name
        )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"n_intents": 0}, "n_intents=0 must be at least 1"),
        ({"ssl_tau": 0.0}, "ssl_tau=0.0 must be above 0"),
        ({"ssl_weight": -1.0}, "ssl_weight=-1.0 must be at least 0"),
        ({"reg_form": "some"}, "reg_form='some' must be one of batch, full"),
    ],
)
def test_bad_options_are_answered_by_name(changed: dict, words: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        prepared(data_path, "DCCF", align="none", **changed)


def test_the_full_l2_term_is_over_the_prototypes_too(data_path: Path) -> None:
    model = run_of(data_path, reg_form="full").model
    expected = sum(float(p.detach().square().sum()) for p in model.parameters())
    assert float(model.l2_term({}).detach()) == pytest.approx(0.01 * expected, rel=1e-6)

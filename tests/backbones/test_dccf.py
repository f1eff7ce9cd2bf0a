"""DCCF's messages and its contrast, against loops over edges and nodes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable

import pytest
import torch
from alignment.equations import naive
from tiny_runs import one_batch, prepared

from backbones.test_propagation import graph_of
from backbones.test_sgl import naive_ranking
from recbole_darec.backbones.dccf import VIEWS, intent_messages, masked_messages
from recbole_darec.backbones.edges import EdgePattern
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


def test_the_full_l2_term_is_over_the_prototypes_too(data_path: Path) -> None:
    model = run_of(data_path, reg_form="full").model
    expected = sum(float(p.detach().square().sum()) for p in model.parameters())
    assert float(model.l2_term({}).detach()) == pytest.approx(0.01 * expected, rel=1e-6)

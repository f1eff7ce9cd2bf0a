"""What backbones are held to: losses by loops over the batch, embeddings by dense products."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from alignment.equations.naive import cosine, dot

from recbole_darec.backbones.edges import EdgePattern
from recbole_darec.backbones.graph import BipartiteGraph

Edges = set[tuple[int, int]]


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([model.user_embedding.weight.grad, model.item_embedding.weight.grad])


def relative(ours: torch.Tensor, stock: torch.Tensor) -> float:
    return float((ours - stock).detach().double().norm() / stock.detach().double().norm())


def dense(graph: Any) -> torch.Tensor:
    """The matrix of a graph of ours, or of RecBole's."""
    return (graph.matrix() if hasattr(graph, "matrix") else graph).to_dense()


# ---- embeddings and losses ---------------------------------------------------------------------


def expected_embeddings(model: Any, matrix: torch.Tensor) -> list[torch.Tensor]:
    """The sum of the layers by dense products in float64."""
    tables = (model.user_embedding.weight, model.item_embedding.weight)
    layer = torch.cat([t.detach().double() for t in tables])
    layers = [layer]
    for _ in range(model.n_layers):
        layers.append(matrix @ layers[-1])
    return list(torch.stack(layers).sum(0).split([model.n_users, model.n_items]))


def naive_contrast(first: Any, second: Any, ids: Any, tau: float) -> float:
    """SGL, equation (10), row by row of the batch."""
    first, second = first.tolist(), second.tolist()
    terms = []
    for n in ids.tolist():
        shares = [math.exp(cosine(first[n], other) / tau) for other in second]
        terms.append(-math.log(shares[n] / math.fsum(shares)))
    return math.fsum(terms)


def rows_of_batch(batch: Any) -> Iterator[tuple[int, int, int]]:
    names = ("user_id", "item_id", "neg_item_id")
    return zip(*(batch[name].tolist() for name in names))


def naive_ranking(users: torch.Tensor, items: torch.Tensor, batch: Any) -> float:
    u, i = users.tolist(), items.tolist()
    return math.fsum(
        math.log1p(math.exp(dot(u[user], i[other]) - dot(u[user], i[item])))
        for user, item, other in rows_of_batch(batch)
    )


# ---- edges -------------------------------------------------------------------------------------


def edges_of(pattern: EdgePattern) -> Edges:
    return set(zip(pattern.rows.tolist(), pattern.columns.tolist()))


def edges_of_graph(graph: BipartiteGraph) -> Edges:
    return edges_of(EdgePattern.of(graph))


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
        found.append(-math.log1p(math.exp(-cosine(subgraph, ego[n]))))
    return found

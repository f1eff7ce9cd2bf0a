"""The equations as the paper prints them: loops over Python floats, nothing shared with ours."""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[float]
Rows = Sequence[Row]


def dot(x: Row, y: Row) -> float:
    return math.fsum(a * b for a, b in zip(x, y))


def length(x: Row) -> float:
    return math.sqrt(dot(x, x))


def squared_distance(x: Row, y: Row) -> float:
    return math.fsum((a - b) ** 2 for a, b in zip(x, y))


def unit(x: Row) -> list[float]:
    norm = length(x)
    return [a / norm if norm else 0.0 for a in x]


def cosine(x: Row, y: Row) -> float:
    return dot(unit(x), unit(y))


def orthogonality(specific: Rows, shared: Rows) -> float:
    total = 0.0
    for i in range(len(specific)):
        total += cosine(specific[i], shared[i]) ** 2
    return total / len(specific)


def uniformity(specific: Rows, t: float = 2.0) -> float:
    total, pairs = 0.0, 0
    for i in range(len(specific)):
        for j in range(len(specific)):
            if i != j:
                total += math.exp(-t * squared_distance(unit(specific[i]), unit(specific[j])))
                pairs += 1
    return math.log(total / pairs)


def global_structure(shared_c: Rows, shared_l: Rows) -> float:
    total = 0.0
    for i in range(len(shared_c)):
        for j in range(len(shared_c)):
            total += (dot(shared_c[i], shared_c[j]) - dot(shared_l[i], shared_l[j])) ** 2
    return total


def lloyd(rows: Rows, centers: Rows, iterations: int) -> tuple[list[int], list[list[float]]]:
    """K-Means from given centers, for starts from which no cluster becomes empty."""
    moved = [list(c) for c in centers]
    labels: list[int] = []
    for _ in range(iterations):
        labels = []
        for x in rows:
            distances = [squared_distance(x, c) for c in moved]
            labels.append(distances.index(min(distances)))
        moved = means(rows, labels, len(moved))
    return labels, moved


def means(rows: Rows, labels: Sequence[int], k: int) -> list[list[float]]:
    result = []
    for cluster in range(k):
        members = [x for x, label in zip(rows, labels) if label == cluster]
        result.append([math.fsum(column) / len(members) for column in zip(*members)])
    return result


def greedy(distances: Rows) -> list[tuple[int, int]]:
    """Sort all pairs by distance; take each pair whose two centers are both unmarked."""
    ordered = sorted(
        (distance, i, j) for i, row in enumerate(distances) for j, distance in enumerate(row)
    )
    marked_c: set[int] = set()
    marked_l: set[int] = set()
    pairs = []
    for _, i, j in ordered:
        if i not in marked_c and j not in marked_l:
            pairs.append((i, j))
            marked_c.add(i)
            marked_l.add(j)
    return pairs


def local_structure(centers_c: Rows, centers_l: Rows) -> float:
    k = len(centers_c)
    same = sum((cosine(centers_c[i], centers_l[i]) - 1.0) ** 2 for i in range(k)) / k
    if k == 1:
        return same
    other = 0.0
    for i in range(k):
        for j in range(k):
            if i != j:
                other += cosine(centers_c[i], centers_l[j]) ** 2
    return same + other / (k * k - k)

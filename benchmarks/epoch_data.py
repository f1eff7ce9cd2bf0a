"""What the benchmarks of epochs share: a quiet process and a data set of Amazon-book's size."""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.errors import DataError

# Amazon-book as RLMRec released it: users, items, training interactions.
USERS, ITEMS, INTERACTIONS = 11_000, 9_332, 120_464


@contextmanager
def data_set(args: argparse.Namespace) -> Iterator[tuple[str, str, Path]]:
    """Silence the libraries, set the threads and find the data set, or write a random one.

    Args:
        args: with ``dataset`` (None: a random one, by ``users``, ``items`` and ``interactions``
            where they are set), ``data_path`` and ``threads``.

    Yields:
        the data path, the data set's name, and a folder that is deleted afterwards.
    """
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        if args.dataset is None:
            sizes = [
                getattr(args, name, None) or default
                for name, default in (
                    ("users", USERS), ("items", ITEMS), ("interactions", INTERACTIONS),
                )
            ]  # fmt: skip
            _write_random_graph(Path(folder) / "random", "random", *sizes)
            yield folder, "random", Path(folder)
        else:
            yield args.data_path, args.dataset, Path(folder)


def _write_random_graph(
    folder: Path, name: str, n_users: int, n_items: int, n_interactions: int
) -> None:
    """Write a random graph with split files; each user has an item to be found."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    pairs = np.unique(rng.integers(0, n_users * n_items, size=n_interactions))
    users, items = np.divmod(rng.permutation(pairs), n_items)
    users[:n_users], items[:n_items] = np.arange(n_users), np.arange(n_items)
    wanted = {"valid": 500, "test": n_users}
    for part in ("train", "valid", "test"):
        if part in wanted:
            users, items = np.arange(wanted[part]), rng.integers(0, n_items, size=wanted[part])
        lines = [f"{u}\t{i}" for u, i in zip(users.tolist(), items.tolist())]
        path = folder / f"{name}.{part}.inter"
        path.write_text("\n".join(["user_id:token\titem_id:token", *lines]) + "\n")
    (folder / f"{name}.yaml").write_text("benchmark_filename: [train, valid, test]\n")


def write_random_profiles(folder: Path, data_path: str, dataset: str, width: int) -> None:
    """Write random rows for every user and item of a data set's split files.

    Raises:
        DataError: there are no such files.
    """
    from recbole_darec.embeddings import write_binary

    atomic = Path(data_path) / dataset
    files = sorted(atomic.glob(f"{dataset}.*.inter"))
    if not files:
        raise DataError(
            f"{atomic} has no split files {dataset}.*.inter; check --data_path and --dataset"
        )
    folder.mkdir()
    rng = np.random.default_rng(1)
    seen: dict[str, set[str]] = {"user": set(), "item": set()}
    for path in files:
        for line in path.read_text().splitlines()[1:]:
            user, item = line.split("\t")[:2]
            seen["user"].add(user)
            seen["item"].add(item)
    for kind, tokens in seen.items():
        rows = rng.standard_normal((len(tokens), width)).astype(np.float32)
        write_binary(folder / f"{dataset}.{kind}emb", sorted(tokens), rows)


class FirstSteps:
    """A data loader that ends after some steps."""

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps, self.n_steps = loader, steps, len(loader)

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.loader), self.steps)

    def __len__(self) -> int:
        return min(self.steps, self.n_steps)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

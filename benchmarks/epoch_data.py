"""What the benchmarks of epochs share: a quiet process and a data set of Amazon-book's size."""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recbole_darec.errors import DataError

# Amazon-book as RLMRec released it: users, items, training interactions.
USERS, ITEMS, INTERACTIONS = 11_000, 9_332, 120_464


@contextmanager
def data_set(args: argparse.Namespace) -> Iterator[tuple[str, str, Path]]:
    """Silence the libraries, set the threads and find the data set, or write a random one.

    Args:
        args: with ``dataset`` (None: a random one), ``data_path`` and ``threads``.

    Yields:
        the data path, the data set's name, and a folder that is deleted afterwards.
    """
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        if args.dataset is None:
            _write_random_graph(Path(folder) / "amazon_sized", "amazon_sized")
            yield folder, "amazon_sized", Path(folder)
        else:
            yield args.data_path, args.dataset, Path(folder)


def _write_random_graph(folder: Path, name: str) -> None:
    """Write a random graph of Amazon-book's size, with split files."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    pairs = rng.choice(USERS * ITEMS, size=INTERACTIONS, replace=False)
    users, items = pairs // ITEMS, pairs % ITEMS
    users[:USERS], items[:ITEMS] = np.arange(USERS), np.arange(ITEMS)
    for part, chosen in (("train", slice(None)), ("valid", slice(0, 500)), ("test", slice(0, 500))):
        lines = [f"{u}\t{i}" for u, i in zip(users[chosen], items[chosen])]
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

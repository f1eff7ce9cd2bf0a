"""Time our SGL and NCL against stock RecBole's, step by step, where both compute the same loss.

    python benchmarks/backbone_epochs.py                  # a random graph of Amazon-book's size
    python benchmarks/backbone_epochs.py --dataset amazon --data_path dataset --steps 10

Both have the same parameters, batches and seed, the mean of the layers and the sum over the batch,
and no aligner.  The first batches tell how far apart each part of the loss is; then the steps
(loss, gradient, Adam) take turns, so that a change of the machine's load meets both.  An epoch is
its number of batches times the median step, and what is done once: SGL's graphs, NCL's clusters.
RecBole's NCL clusters with faiss; where that is not installed, stock NCL gets our clusters and its
epoch counts no time for them.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from epoch_data import data_set

from recbole_darec.cli.ending import exit_code

CLUSTERS = ("user_centroids", "user_2cluster", "item_centroids", "item_2cluster")
# Both losses as RecBole has them.
AS_RECBOLE = {"layer_aggregation": "mean", "loss_reduction": "sum", "align": "none"}


def main() -> None:
    """Print one row a model."""
    args = _arguments()
    with data_set(args) as (data_path, dataset, folder):
        print(
            f"{dataset}: d = {args.width}, batch {args.batch}, {args.layers} layers, "
            f"{args.threads} thread(s), median of {args.steps} steps\n"
        )
        print("| model | of | step, s | once an epoch, s | epoch, s |")
        print("| --- | --- | --- | --- | --- |")
        notes = [_compare(name, args, data_path, dataset, folder) for name in args.models]
    print("\n" + "\n".join(notes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="a data set with fixed split files (default: random)")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=["SGL", "NCL"], choices=["SGL", "NCL"])
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each contestant")
    parser.add_argument("--first", type=int, default=3, help="batches whose losses are compared")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=3)
    return parser.parse_args()


def _compare(
    name: str, args: argparse.Namespace, data_path: str, dataset: str, folder: Path
) -> str:
    """Print the rows of one model, and return how far the losses are apart."""
    import torch
    from recbole.utils import get_model

    from recbole_darec import recbole_compat, run  # noqa: F401 - reconciles RecBole and NumPy
    from recbole_darec.resolve import resolve

    given = {
        **AS_RECBOLE,
        "data_path": data_path,
        "embedding_size": args.width,
        "train_batch_size": args.batch,
        "n_layers": args.layers,
        "checkpoint_dir": str(folder / "saved"),
    }
    prepared = run.prepare(resolve(name, dataset, None, given))
    config, device = prepared.config, prepared.config["device"]
    stock = get_model(name)(config, prepared.train_data._dataset).to(device)
    stock.load_state_dict(prepared.model.state_dict())
    models = {"stock RecBole": stock, "recbole_darec": prepared.model}
    once = {which: _begin_epoch(model) for which, model in models.items()}
    if name == "NCL":
        for attribute in CLUSTERS:
            setattr(stock, attribute, getattr(prepared.model, attribute))

    optimizers = {
        which: torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
        for which, model in models.items()
    }
    endless = itertools.chain.from_iterable(itertools.repeat(prepared.train_data))
    furthest = 0.0
    seconds: dict[str, list[float]] = {which: [] for which in models}
    for number in range(args.first + args.steps):
        batch = next(endless).to(device)
        losses: list[list[float]] = []
        for which, model in models.items():
            start = time.perf_counter()
            losses.append(_step(model, batch, optimizers[which]))
            if number >= args.first:
                seconds[which].append(time.perf_counter() - start)
        if number < args.first:
            if len({len(parts) for parts in losses}) > 1:
                # RecBole's SGL has one part, ours two.
                losses = [[sum(parts)] for parts in losses]
            furthest = max(furthest, *(abs(b / a - 1.0) for a, b in zip(*losses)))

    medians = {which: statistics.median(times) for which, times in seconds.items()}
    n_batches = len(prepared.train_data)
    epochs = {w: n_batches * medians[w] + (once[w] or 0.0) for w in models}
    for which in models:
        extra = "not counted" if once[which] is None else f"{once[which]:.2f}"
        print(f"| {name} | {which} | {medians[which]:.3f} | {extra} | {epochs[which]:.1f} |")
    theirs, ours = models
    return (
        f"{name}: {medians[theirs] / medians[ours]:.1f} times as fast a step, "
        f"{epochs[theirs] / epochs[ours]:.1f} an epoch of {n_batches} batches; the parts of the "
        f"loss differ by at most {furthest:.1e} of their value in the first {args.first} batches"
    )


def _begin_epoch(model: Any) -> Any:
    """Do what the model does once an epoch; return its seconds, None if it cannot be done here."""
    np.random.seed(2020)  # noqa: NPY002 - SGL draws its graphs from the global generator
    whole: Callable[[], Any] = model.train
    if hasattr(model, "e_step"):
        whole = model.e_step
        needs_faiss = type(model).__module__.startswith("recbole.")
        if needs_faiss and importlib.util.find_spec("faiss") is None:
            return None
    start = time.perf_counter()
    whole()
    return time.perf_counter() - start


def _step(model: Any, batch: Any, optimizer: Any) -> list[float]:
    """Take one step and return the parts of the loss."""
    parts = model.calculate_loss(batch)
    parts = parts if isinstance(parts, tuple) else (parts,)
    optimizer.zero_grad()
    sum(part.sum() for part in parts).backward()
    optimizer.step()
    return [float(part.detach().sum()) for part in parts]


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Sequences against stock RecBole: making them, an epoch, its loss, an evaluation, memory.

    python benchmarks/sequence_time.py --dataset prime_pantry --data_path dataset
    python benchmarks/sequence_time.py --dataset prime_pantry --rank-loss ce --ours-only

The data set is one that 'import sequences' or 'prepare --split leave-one-out' wrote.  Epochs of the
contestants take turns, so that a change of the machine's load meets all of them.  Both train on the
same targets a step: a step of positions has so many users as hold a step of prefixes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from turns import median_seconds, print_table

from recbole_darec.cli.ending import exit_code
from recbole_darec.data.sequences import PLACES, Sequences, leave_one_out, time_order
from recbole_darec.training.epoch import train_epoch
from recbole_darec.training.fused import fuse_adam

MANY = 10_000_000


def main() -> None:
    """Print one table a question."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    ours, stock = _ours(args), None if args.ours_only else _stock(args)
    print(
        f"{args.dataset}: SASRec, d = {args.width}, {args.layers} layers, length {args.length}, "
        f"batch {args.batch} prefixes, {args.threads} thread(s), median of {args.epochs}\n"
    )
    _epochs(args, ours, stock)
    if not args.ours_only and args.rank_loss != "ce":  # what is of stock's pairs
        gap = _loss_gap(ours, stock)
        print(f"\ndifference of the mean loss of all targets, dropout 0: {gap:.1e}")
        _making(args)
        _memory(args)
    _evaluation(args, ours)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rank-loss", choices=["bpr", "ce"], default="bpr")
    parser.add_argument("--ours-only", action="store_true", help="time this package alone")
    return parser.parse_args()


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "data_path": args.data_path,
        "hidden_size": args.width,
        "inner_size": 4 * args.width,
        "n_layers": args.layers,
        "MAX_ITEM_LIST_LENGTH": args.length,
        "show_progress": False,
        "use_gpu": False,
        "state": "ERROR",
    }


def _ours(args: argparse.Namespace, **changed: Any) -> Any:
    from recbole_darec.resolve import resolve
    from recbole_darec.run import prepare

    given = {**_options(args), "align": "none", "rank_loss": args.rank_loss,
             "eval_mask": "history_all", **changed}  # fmt: skip
    run = prepare(resolve("SASRec", args.dataset, None, {**given, "train_batch_size": args.batch}))
    loader = run.train_data
    targets = len(loader._items) - int(run.train_data.dataset.user_num - 1)
    batch = max(1, round(args.batch * len(loader._begin) / targets))
    return prepare(resolve("SASRec", args.dataset, None, {**given, "train_batch_size": batch}))


def _stock(args: argparse.Namespace) -> Any:
    """RecBole's data set, loader and model."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.sequential_recommender import SASRec

    from recbole_darec.recbole_compat import reconcile

    reconcile()
    sys.argv = sys.argv[:1]  # which RecBole reads
    drawn = {"distribution": "uniform", "sample_num": 1}
    values = {**_options(args), "loss_type": args.rank_loss.upper(), "train_batch_size": args.batch,
              "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp",
              "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
              "train_neg_sample_args": drawn if args.rank_loss == "bpr" else None}  # fmt: skip
    config = Config(model="SASRec", dataset=args.dataset, config_dict=values)
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    model = SASRec(config, train.dataset).to(config["device"])
    return config, train, model


def _epoch_of(model: Any, batches: Any) -> Callable[[], None]:
    """Return an epoch as this package trains it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    fuse_adam(optimizer)

    def run() -> None:
        model.train()
        device = torch.device(model.device)
        train_epoch(batches, model.calculate_loss, model, optimizer, device=device)

    return run


def _plain_epoch_of(model: Any, batches: Any) -> Callable[[], None]:
    """Return an epoch with torch's own dropout and Adam, as stock RecBole trains it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run() -> None:
        model.train()
        for batch in batches:
            optimizer.zero_grad()
            model.calculate_loss(batch).backward()
            optimizer.step()

    return run


def _epochs(args: argparse.Namespace, ours: Any, stock: Any) -> None:
    contestants = {}
    if stock is not None:
        contestants["stock RecBole, prefixes"] = _plain_epoch_of(stock[2], stock[1])
    if args.rank_loss == "ce":
        formed = _ours(args)
        formed.model._in_blocks = False
        contestants["positions, all scores at once"] = _epoch_of(formed.model, formed.train_data)
    contestants["positions"] = _epoch_of(ours.model, ours.train_data)
    grouped = _ours(args, group_by_length=True)
    parts = grouped.model, grouped.train_data
    contestants["positions, grouped by length"] = _epoch_of(*parts)
    contestants["the same, torch's dropout and Adam"] = _plain_epoch_of(*parts)
    print_table("epoch of SASRec", median_seconds(contestants, args.epochs, time.perf_counter))


def _loss_gap(ours: Any, stock: Any) -> float:
    """Return how far the mean losses are apart, with the same weights and negatives."""
    model, loader = ours.model, ours.train_data
    theirs, rows = stock[2], stock[1].dataset.inter_feat
    theirs.load_state_dict(model.state_dict())
    for one in (model, theirs):
        one.eval()  # no dropout
    negatives: dict[int, int] = {}
    total = count = 0.0
    with torch.no_grad():
        for start in range(0, len(loader._begin), 512):
            wanted = torch.arange(start, min(start + 512, len(loader._begin)))
            batch = loader.batch(wanted)
            width = batch["item_id_list"].shape[1]
            at = loader._begin[wanted].long()[batch[PLACES] // width] + batch[PLACES] % width + 1
            negatives.update(zip(at.tolist(), batch["neg_item_id"].tolist()))
            total += float(model.calculate_loss(batch)) * len(at)
            count += len(at)
        mean = total / count
        # Stock's rows are by user and time, as our targets are.
        drawn = torch.tensor([negatives[place] for place in sorted(negatives)])
        assert len(drawn) == len(rows)
        assert torch.equal(rows["item_id"], loader._items[sorted(negatives)].long())
        total = 0.0
        for start in range(0, len(rows), 2048):
            batch = rows[slice(start, start + 2048)]
            batch.interaction["neg_item_id"] = drawn[start : start + 2048]
            total += float(theirs.calculate_loss(batch)) * len(batch)
    return abs(mean - total / count)


def _making(args: argparse.Namespace) -> None:
    """Time RecBole's augmentation, and ours of the same interactions."""
    from recbole.config import Config
    from recbole.data.dataset import SequentialDataset

    values = {**_options(args), "loss_type": "BPR", "USER_ID_FIELD": "user_id",
              "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp",
              "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "train_neg_sample_args":
              {"distribution": "uniform", "sample_num": 1}}  # fmt: skip
    dataset = SequentialDataset(Config(model="SASRec", dataset=args.dataset, config_dict=values))
    users, items, times = (
        dataset.inter_feat[field].to_numpy() for field in ("user_id", "item_id", "timestamp")
    )
    seconds: dict[str, list[float]] = {"RecBole's augmentation": [], "windows": []}
    start = time.perf_counter()
    dataset._change_feat_format()
    seconds["RecBole's augmentation"].append(time.perf_counter() - start)
    for _ in range(5):
        start = time.perf_counter()
        _make(users, items, times, args.length)
        seconds["windows"].append(time.perf_counter() - start)
    print()
    print_table("making the sequences", {k: statistics.median(v) for k, v in seconds.items()})


def _make(users: Any, items: Any, times: Any, longest: int) -> Any:
    order = time_order(users, times)
    users, items = users[order], items[order]
    labels, _ = leave_one_out(users)
    train = labels == 0
    found = Sequences(users[train], items[train], int(users.max()) + 1)
    return found, found.prefixes(longest), found.stretches(longest)


def _memory(args: argparse.Namespace) -> None:
    """Print the peak of making the sequences of ten million interactions."""
    rng = np.random.RandomState(0)
    users, items = rng.randint(1, 1_000_000, MANY), rng.randint(1, 500_000, MANY)
    times = np.arange(MANY, dtype=np.float64)
    ids = users.nbytes + items.nbytes
    tracemalloc.start()
    start = time.perf_counter()
    made = _make(users, items, times, args.length)
    seconds = time.perf_counter() - start
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"\n{MANY:,} interactions: {seconds:.1f} s, peak {peak / ids:.2f} and held "
        f"{held / ids:.2f} times the {ids / 1e6:.0f} MB of their ids ({len(made[1]):,} prefixes)"
    )


def _evaluation(args: argparse.Namespace, ours: Any) -> None:
    """Time one all-rank evaluation beside encoder, product and top-k alone."""
    from recbole_darec.evaluation.ranking import evaluate
    from recbole_darec.numerics.topk import top_k

    model, loader = ours.model, ours.test_data
    longest = max(ours.config["topk"])
    batches = [batch for batch, *_ in loader]

    def alone() -> None:
        model.eval()
        with torch.no_grad():
            for batch in batches:
                scores = model.encode(batch) @ model.item_embedding.weight.T
                top_k(scores, longest)

    def whole() -> None:
        evaluate(ours.config, model, ours.train_data, loader)

    contestants = {"encoder, product, top-k": alone, "evaluation": whole}
    print()
    print_table("all-rank evaluation", median_seconds(contestants, args.epochs, time.perf_counter))


if __name__ == "__main__":
    sys.exit(exit_code(main))

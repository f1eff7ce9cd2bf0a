#!/usr/bin/env python
"""Time an all-rank evaluation against the bare matrix product and top-k, in one run.

    python benchmarks/ranking_time.py                                  # Amazon-book's size
    python benchmarks/ranking_time.py --dataset amazon --data_path dataset
    python benchmarks/ranking_time.py --users 100000 --items 50000 --interactions 2000000
    python benchmarks/ranking_time.py --filter --dataset amazon --data_path dataset
    python benchmarks/ranking_time.py --users 1000 --items 1000000 --interactions 1500000 \\
        --only "product and top-k" "this package"

The contestants rank the same users in the same batches, and take turns: the bare product of the
embeddings with ``torch.topk``; this package's evaluation, metrics included; and the same with
RecBole's collector, which forms a dense matrix of the items to be found.  The embeddings are those
of a LightGCN at its start: training them changes no time.  The processor's time is told beside the
clock's, and how much more memory an evaluation takes at its peak (of Linux alone).  With
``--filter`` the text filter is beside them, over random profiles of 384 columns, with more and more
of its pieces: with the scores that it keeps of its users from one evaluation to the next, and with
all of them made anew, which is the first evaluation, or each one where they do not fit.  What no
such filter can leave out when it makes them anew stands in its own rows: the product and top-k with
one product more and one addition, that of the users' rows with co-occurrence, or of the profiles.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from epoch_data import data_set

from recbole_darec.cli.ending import exit_code


def main() -> None:
    """Print the table of times and their ratios to the bare product and top-k."""
    args = _arguments()
    with data_set(args) as (data_path, dataset, folder):
        run, contestants = _contestants(args, data_path, dataset, str(folder))
        contestants = {name: contestants[name] for name in args.only or contestants}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        peaks = dict.fromkeys(contestants, 0)
        for turn in range(args.repeats + 1):
            for name, rank in contestants.items():
                held = _reset_peak()
                start = time.perf_counter(), time.process_time()
                rank()
                if turn:  # the first one warms up
                    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
                    times[name].append(seconds)
                peaks[name] = max(peaks[name], _status("VmHWM") - held)
    medians = {
        name: tuple(statistics.median(column) for column in zip(*found))
        for name, found in times.items()
    }
    # What else a machine does changes the processor's seconds little; a GPU has none.
    which = 1 if run.config["device"].type == "cpu" else 0
    bare = medians["product and top-k"][which]
    ours = medians.get("this package", (bare, bare))[which]
    print(
        f"{dataset}: {run.test_data.sample_size} users x {run.dataset.item_num - 1} items x "
        f"{args.width}, {run.test_data.batch_users} users a batch, {args.threads} thread(s), "
        f"{run.config['device']}, median of {args.repeats}\n"
    )
    print("| ranking by | seconds | processor's | to product and top-k | ", end="")
    print("to this package | peak extra MB |\n" + "| --- " * 6 + "|")
    for name, found in medians.items():
        ratios = f"{found[which] / bare:.2f} | {found[which] / ours:.2f}"
        print(
            f"| {name} | {found[0]:.3f} | {found[1]:.3f} | {ratios} | {peaks[name] / 2**20:.0f} |"
        )


def _reset_peak() -> int:
    """Begin to watch the peak; returns the bytes that are held."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="a data set with fixed split files (default: random)")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--users", type=int, help="of the random data set")
    parser.add_argument("--items", type=int, help="of the random data set")
    parser.add_argument("--interactions", type=int, help="of the random data set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--filter", action="store_true", help="the text filter, too")
    parser.add_argument("--only", nargs="+", help="contestants, the bare product among them")
    return parser.parse_args()


def _contestants(
    args: argparse.Namespace, data_path: str, dataset: str, folder: str
) -> tuple[Any, dict[str, Callable[[], Any]]]:
    import torch
    from recbole.evaluator import Collector

    from recbole_darec import run
    from recbole_darec.resolve import resolve

    options = {
        "data_path": data_path,
        "embedding_size": args.width,
        "align": "none",
        "checkpoint_dir": folder,
        "snapshot_every": 0,
    }
    prepared = run.prepare(resolve("LightGCN", dataset, None, options))
    loader, longest = prepared.test_data, max(prepared.config["topk"])
    ours, stock = run.make_trainer(prepared), run.make_trainer(prepared)
    stock.eval_collector = Collector(prepared.config)
    users, items = prepared.model.eval().ranking_embeddings()

    @torch.no_grad()
    def bare(add: Callable[[Any, Any], None] | None = None) -> None:
        for start in range(0, len(loader.uid_list), loader.batch_users):
            chosen = loader.uid_list[start : start + loader.batch_users]
            scores = users[chosen.to(users.device)] @ items.T
            if add is not None:
                add(scores[:, 1:], chosen - 1)
            scores.topk(longest)[1].cpu()

    return prepared, {
        "product and top-k": bare,
        "this package": lambda: ours.evaluate(loader, load_best_model=False),
        "with RecBole's collector": lambda: stock.evaluate(loader, load_best_model=False),
        **(_least(prepared, bare) if args.filter else {}),
        **(_filters(prepared, options) if args.filter else {}),
    }


def _least(prepared: Any, bare: Callable[..., None]) -> dict[str, Callable[[], Any]]:
    """Return the bare product and top-k with one product of a filter's added to the scores."""
    import torch

    from recbole_darec.filters.equations import row_blocks
    from recbole_darec.filters.fitted import FittedFilter
    from recbole_darec.filters.inputs import FilterInputs
    from recbole_darec.filters.weights import FilterWeights

    pairs, device = prepared.dataset.inter_matrix(form="csr")[1:, 1:], prepared.config["device"]
    fitted = FittedFilter(FilterInputs.of(pairs), FilterWeights())
    generator = torch.Generator().manual_seed(0)
    of_users, of_items = (torch.randn(n, 384, generator=generator).to(device) for n in pairs.shape)

    def cooccurrence(scores: Any, chosen: Any) -> None:
        for rows in row_blocks(len(scores), scores.shape[1], scores.device):
            added = fitted.on(scores.device).graph(fitted.rows(chosen[rows].numpy()))
            scores[rows].add_(added)

    def profiles(scores: Any, chosen: Any) -> None:
        scores.addmm_(of_users[chosen.to(device)], of_items.T)

    return {
        "product, co-occurrence added, top-k": partial(bare, cooccurrence),
        "product, profiles' product added, top-k": partial(bare, profiles),
    }


def _filters(bare: Any, options: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return evaluations with the text filter, its weights fixed so that nothing is tuned."""
    import numpy as np

    from recbole_darec import run
    from recbole_darec.embeddings import write_binary
    from recbole_darec.resolve import resolve

    name, folder = bare.config["dataset"], Path(options["checkpoint_dir"])
    rng = np.random.default_rng(0)
    for kind in ("user", "item"):
        tokens = list(bare.dataset.field2id_token[f"{kind}_id"][1:])
        rows = rng.standard_normal((len(tokens), 384), dtype=np.float32)
        write_binary(folder / f"{name}.{kind}emb", tokens, rows)
    weights: dict[str, Any] = dict.fromkeys(
        ("two_hops", "text", "popularity", "match", "user_text", "low_pass"), 0.0
    )
    found: dict[str, Callable[[], Any]] = {}
    for label, added in (
        ("one step", {}), ("two steps", {"two_hops": 1.0}), ("item texts", {"text": 0.3}),
        ("user texts", {"user_text": 0.25}), ("matches", {"match": 0.1}),
    ):  # fmt: skip
        weights |= added
        given: dict[str, Any] = {f"filter_{key}": value for key, value in weights.items()}
        given |= {"filter_weight": 0.5, "filter_item_exponent": 0.3, "align": "text_filter"}
        made = run.prepare(
            resolve("LightGCN", name, None, {**options, **given, "profile_dir": str(folder)})
        )
        made.model.aligner.fitted(made.model._ranking)  # fitting is no part of ranking
        evaluate = partial(run.make_trainer(made).evaluate, made.test_data, load_best_model=False)
        name_ = f"text_filter, {label}" if label == "one step" else f"and {label}"
        found[name_] = evaluate
        found[f"{name_}, made anew"] = partial(_anew, made.model.aligner, evaluate)
    return found


def _anew(aligner: Any, evaluate: Callable[[], Any]) -> None:
    """Evaluate with no score of the filter known before."""
    kept, aligner._kept = aligner._kept, None
    evaluate()
    aligner._kept = kept


if __name__ == "__main__":
    sys.exit(exit_code(main))

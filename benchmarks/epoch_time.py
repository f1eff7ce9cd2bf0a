"""Time one training epoch: stock RecBole LightGCN, ours alone, and ours with aligners, in one run.

    python benchmarks/epoch_time.py                       # a random graph of Amazon-book's size
    python benchmarks/epoch_time.py --dataset amazon --data_path dataset
    python benchmarks/epoch_time.py --align darec rlmrec_con --components 128
    python benchmarks/epoch_time.py --align darec rlmrec_con --amp --epochs 10    # on a GPU

The epochs of the contestants take turns, so that a change of the machine's load meets all of them;
the processor's time is told beside the clock's, and has the ratios where there is no GPU.  On a GPU
an epoch ends when its losses are there; ``--amp`` times each contestant in mixed precision, too,
``--eager`` without the recorded step.  With ``--steps`` an epoch is its first steps, times what is
left.
The profiles are random rows: their meaning costs no time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from epoch_data import FirstSteps, data_set, write_random_profiles

from recbole_darec.cli.ending import exit_code


def main() -> None:
    """Print the table of epoch times and their ratios to stock RecBole's."""
    args = _arguments()
    with data_set(args) as (data_path, dataset, folder):
        write_random_profiles(folder / "profiles", data_path, dataset, args.profile_width)
        contestants = _contestants(args, data_path, dataset, folder)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for epoch in range(args.epochs + 1):
            for name, (one_epoch, share) in contestants.items():
                start = time.perf_counter(), time.process_time()
                one_epoch(epoch)
                if epoch:  # the first one warms up
                    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
                    times[name].append((seconds[0] / share, seconds[1] / share))
    medians = {
        name: tuple(statistics.median(column) for column in zip(*found))
        for name, found in times.items()
    }
    which = 0 if _gpu() else 1  # a processor that waits for a GPU counts as busy, or not
    stock, own = (
        medians[name][which] for name in ("stock RecBole LightGCN", "LightGCN, --align=none")
    )
    print(
        f"{dataset}: d = {args.width}, batch {args.batch}, {args.layers} layers, profiles "
        f"{args.profile_width} wide, {_gpu() or f'{args.threads} thread(s)'}, median of "
        f"{args.epochs}\n"
    )
    print("| epoch of | seconds | processor's | to stock | to our backbone |")
    print("| --- " * 5 + "|")
    for name, found in medians.items():
        ratios = f"{found[which] / stock:.2f} | {found[which] / own:.2f}"
        print(f"| {name} | {found[0]:.3f} | {found[1]:.3f} | {ratios} |")


def _gpu() -> str:
    """Return the name of the GPU that is used, empty where none is."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="a data set with fixed split files (default: random)")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10**9, help="of an epoch that are timed")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--sample", default="4096", help="rows aligned a step, or all")
    parser.add_argument("--pairs", default="2048", help="rows of the uniformity term, or all")
    parser.add_argument("--profile-width", type=int, default=1536)
    parser.add_argument("--align", nargs="+", default=["darec"], help="aligners to time")
    parser.add_argument(
        "--components", type=int, help="time each aligner with this many components, too"
    )
    parser.add_argument("--amp", action="store_true", help="time mixed precision, too")
    parser.add_argument("--eager", action="store_true", help="time steps by themselves, too")
    return parser.parse_args()


def _contestants(
    args: argparse.Namespace, data_path: str, dataset: str, folder: Path
) -> dict[str, tuple[Callable[[int], Any], float]]:
    """Return what trains one epoch, or its first steps, and which share of an epoch that is."""
    from recbole.model.general_recommender.lightgcn import LightGCN as StockLightGCN
    from recbole.trainer import Trainer

    from recbole_darec import recbole_compat, run  # noqa: F401 - reconciles RecBole and NumPy
    from recbole_darec.resolve import resolve
    from recbole_darec.settings.values import parse_value

    common = {
        "data_path": data_path,
        "embedding_size": args.width,
        "train_batch_size": args.batch,
        "n_layers": args.layers,
        "profile_dir": str(folder / "profiles"),
        "checkpoint_dir": str(folder / "saved"),
        "snapshot_every": 0,
        "align_sample": parse_value(args.sample),
        "uniformity_sample": parse_value(args.pairs),
    }

    def ours(align: str, **changed: Any) -> tuple[Callable[[int], Any], float]:
        values = {**common, "align": align, **changed}
        if "darec" not in align:
            values = {k: v for k, v in values.items() if not k.endswith("_sample")}
        prepared = run.prepare(resolve("LightGCN", dataset, None, values))
        return timed(run.make_trainer(prepared), prepared.train_data)

    def timed(trainer: Any, data: Any) -> tuple[Callable[[int], Any], float]:
        first = FirstSteps(data, args.steps)
        return lambda epoch: trainer._train_epoch(first, epoch), len(first) / len(data)

    plain = {k: v for k, v in common.items() if not k.endswith("_sample")}
    prepared = run.prepare(resolve("LightGCN", dataset, None, {**plain, "align": "none"}))
    stock = StockLightGCN(prepared.config, prepared.train_data._dataset)
    trainer = Trainer(prepared.config, stock.to(prepared.config["device"]))
    contestants = {
        "stock RecBole LightGCN": timed(trainer, prepared.train_data),
        "LightGCN, --align=none": ours("none"),
    }
    variants: list[tuple[str, dict[str, Any]]] = [("", {})]
    if args.components:
        name = f" --profile_components={args.components}"
        variants.append((name, {"profile_components": args.components}))
    for align in args.align:
        for name, changed in variants:
            contestants[f"LightGCN, --align={align}{name}"] = ours(align, **changed)
    for asked, option, value in (
        (args.amp, "enable_amp", True), (args.eager, "cuda_graph", False),
    ):  # fmt: skip
        for align in ("none", *args.align) if asked else ():
            name = f"LightGCN, --align={align} --{option}={value}"
            contestants[name] = ours(align, **{option: value})
    return contestants


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Time what an aligner adds to a step over LightGCN, beside the products that it cannot do without.

    python benchmarks/aligned_step.py                 # a random graph of Amazon-book's size
    python benchmarks/aligned_step.py --compiled      # DaRec's terms by torch.compile, too

Contestants take turns in one process on one thread; the processor's time is told, the best of the
repeats.  *Least* is a bound from below on any implementation that forms these products in float32:
for DaRec those of its layers and, of each pair of the uniformity term's 2048 rows once, forward and
backward; for RLMRec-Con those of the three contrasts, without exponentials and the projection.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from epoch_data import FirstSteps, data_set, write_random_profiles

from recbole_darec.cli.ending import exit_code

_STEPS = 6


def main() -> None:
    """Print milliseconds a step and their ratios to the backbone's."""
    args = _arguments()
    with data_set(args) as (data_path, dataset, folder):
        write_random_profiles(folder / "profiles", data_path, dataset, args.components)
        contestants = _contestants(args, data_path, dataset, str(folder))
        best = dict.fromkeys(contestants, float("inf"))
        for repeat in range(args.repeats + 1):
            for name, one_step in contestants.items():
                start = time.process_time()
                for _ in range(_STEPS):
                    one_step()
                seconds = (time.process_time() - start) / _STEPS
                if repeat:  # the first one warms up
                    best[name] = min(best[name], seconds)
    backbone = best["LightGCN's step"]
    print(
        f"{dataset}: d = {args.width}, batch {args.batch}, profiles {args.components} wide, "
        f"{args.threads} thread(s), best of {args.repeats}\n"
    )
    print("| part of a step | ms | to the backbone's step |\n| --- | --- | --- |")
    for name, seconds in best.items():
        print(f"| {name} | {1e3 * seconds:.1f} | {seconds / backbone:.2f} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="a data set with fixed split files (default: random)")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--components", type=int, default=128, help="columns of the profiles")
    parser.add_argument("--compiled", action="store_true", help="time torch.compile, too")
    return parser.parse_args()


def _contestants(
    args: argparse.Namespace, data_path: str, dataset: str, folder: str
) -> dict[str, Callable[[], Any]]:
    from recbole_darec import run
    from recbole_darec.resolve import resolve

    common = {
        "data_path": data_path,
        "embedding_size": args.width,
        "train_batch_size": args.batch,
        "profile_dir": f"{folder}/profiles",
        "checkpoint_dir": f"{folder}/saved",
        "snapshot_every": 0,
        "align": "none",
    }
    prepared = run.prepare(resolve("LightGCN", dataset, None, common))
    trainer = run.make_trainer(prepared)
    one = FirstSteps(prepared.train_data, 1)
    step = _step(prepared, args)
    samples = (1024, 2048) if args.compiled else (512, 1024, 2048)
    found: dict[str, Callable[[], Any]] = {
        "LightGCN's step": lambda: trainer._train_epoch(one, 0),
        "DaRec, least": _darec_least(args),
    }
    for rows in samples:
        found[f"DaRec, uniformity_sample={rows}"] = _losses(
            "darec", {"uniformity_sample": rows}, step, args
        )
        if args.compiled:
            found[f"the same, compiled, uniformity_sample={rows}"] = _losses(
                "darec", {"uniformity_sample": rows}, step, args, compiled=True
            )
    small = {"align_sample": 1024, "uniformity_sample": 512}
    found["DaRec, align_sample=1024 uniformity_sample=512"] = _losses("darec", small, step, args)
    found["RLMRec-Con, least"] = _con_least(step)
    found["RLMRec-Con"] = _losses("rlmrec_con", {}, step, args)
    found["RLMRec-Con, kd_sample=512"] = _losses("rlmrec_con", {"kd_sample": 512}, step, args)
    return found


def _step(prepared: Any, args: argparse.Namespace) -> Any:
    """Return a step on random rows: users and items, a batch of the data set's own."""
    import torch

    from recbole_darec.alignment.contract import TrainingStep

    model = prepared.model
    users, items = model.n_users, model.n_items
    batch = next(iter(prepared.train_data))
    columns = {"user": "USER_ID", "positive": "ITEM_ID", "negative": "NEG_ITEM_ID"}
    roles = {role: batch[getattr(model, column)] for role, column in columns.items()}
    return TrainingStep(
        collaborative=torch.randn(users + items, args.width, requires_grad=True),
        profiles=torch.randn(users + items, args.components),
        kinds={"user": slice(0, users), "item": slice(users, users + items)},
        batch={role: ids if role == "user" else ids + users for role, ids in roles.items()},
    )


def _losses(
    align: str,
    given: Mapping[str, Any],
    step: Any,
    args: argparse.Namespace,
    compiled: bool = False,
) -> Callable[[], None]:
    """Return what computes an aligner's losses on a step, and their gradients."""
    import torch

    from recbole_darec.alignment import equations
    from recbole_darec.alignment.contract import Widths
    from recbole_darec.alignment.registry import aligner_class

    found = aligner_class(align)
    aligner = found(
        found.Options(**given),
        Widths(backbone=args.width, ego=args.width, profile=args.components),
    )
    if compiled:
        for name in ("uniformity", "kmeans"):  # loops over blocks, which stay as they are
            as_it_is = torch.compiler.disable(getattr(equations, name))  # type: ignore[no-untyped-call]
            setattr(equations, name, as_it_is)
        aligner._terms = torch.compile(aligner._terms, dynamic=False)

    def forward_and_backward() -> None:
        step.collaborative.grad = None
        aligner.modules.zero_grad()
        sum(aligner.losses(step).values()).backward()

    return forward_and_backward


def _darec_least(args: argparse.Namespace) -> Callable[[], None]:
    """Return the products of DaRec's layers and its pairs alone, forward and backward."""
    import torch

    n, d, width = 4096, args.width, args.components
    rows, wide = torch.randn(n, d), torch.randn(n, width)
    first_c, first_l, second = torch.randn(d, 2 * d), torch.randn(width, 2 * d), torch.randn(d, d)
    hidden, both = torch.randn(n, d), torch.randn(n, 2 * d)
    blocks = [torch.randn(512, d) for _ in range(4)]  # 2048 rows, in blocks that a cache holds
    tile = torch.randn(512, 512)

    def products() -> None:
        for some, weight in ((rows, first_c), (wide, first_l)):
            some @ weight, some.t() @ both  # the layer, and the gradient of its weight
        both @ first_c.t()  # the gradient of E^C
        for _ in range(4):
            hidden @ second, hidden.t() @ hidden, hidden @ second.t()
        for _ in range(2):  # sides
            for one, other in itertools.combinations_with_replacement(blocks, 2):
                torch.mm(one, other.t(), out=tile)
                for partner in (other, one) if one is not other else (one,):
                    tile @ partner

    return products


def _con_least(step: Any) -> Callable[[], None]:
    """Return the similarities of each role's distinct rows, and the products of their gradients."""
    import torch

    sizes = [len(torch.unique(ids)) for ids in step.batch.values()]
    width = step.collaborative.shape[1]
    sides = [(torch.randn(n, width), torch.randn(n, width)) for n in sizes]

    def products() -> None:
        for anchors, candidates in sides:
            # In blocks that stay in a core's cache, as ours are.
            for block in torch.split(anchors, max(1, (1 << 19) // len(candidates))):
                tile = block @ candidates.t()
                tile @ candidates, tile.t() @ block

    return products


if __name__ == "__main__":
    sys.exit(exit_code(main))

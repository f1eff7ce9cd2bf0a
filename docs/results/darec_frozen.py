"""DaRec with the language side frozen: one more attempt, which stays outside the package.

    python docs/results/darec_frozen.py --dataset prime_pantry --global 1 --out frozen.csv \\
        --common learning_rate=0.0005
    python docs/results/darec_frozen.py --dataset prime_pantry --global 1 --out frozen.csv \\
        --common learning_rate=0.0005 profile_control=shuffle

DaRec's two projections move towards each other, and little of its gradient reaches the backbone.
Here E^L is whitened and stands still, and only E^C is projected: the cosines among its rows are to
be those among the targets (equation 5), and each row is to be as near to the K-Means centers of the
targets as its target is (in place of equations 6 to 10).  A line is added to the CSV for each run.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_darec.alignment import registry
from recbole_darec.alignment.contract import Aligner, TrainingStep, Widths
from recbole_darec.cli.ending import exit_code
from recbole_darec.errors import DataError
from recbole_darec.numerics import kmeans, unit_rows
from recbole_darec.numerics.principal import whitened_rows
from recbole_darec.settings.options import Options, option

COMMON = {"LightGCN": {"edge_keep_rate": 0.8}, "SimGCL": {"ssl_weight": 0.05}}
FIELDS = ("method", "dataset", "model", "common", "seed", "valid", "test", "best_epoch")


class FrozenOptions(Options):
    """Weights of the two terms, and what the frozen side is made of."""

    frozen_global: float = option(0.0, "Weight of the structure among all rows.", low=0.0)
    frozen_local: float = option(0.0, "Weight of the nearness to the centers.", low=0.0)
    frozen_sample: int = option(1024, "Rows of a step.", low=2)
    frozen_centers: int = option(32, "Centers of each kind.", low=1)
    frozen_temperature: float = option(0.2, "Temperature of the nearness.", low=0.01)
    frozen_width: int = option(64, "Directions of the whitened profiles.", low=1)


class Frozen(Aligner):
    """Only the collaborative side is projected; its targets stand still."""

    Options: ClassVar[type] = FrozenOptions

    def __init__(self, options: FrozenOptions, widths: Widths) -> None:
        super().__init__(options, widths)
        self.modules = nn.Linear(widths.backbone, options.frozen_width)
        self._targets: Tensor | None = None
        self._centers: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(1)

    def losses(self, step: TrainingStep) -> dict[str, Tensor]:
        """Return ``glo`` and ``loc``, each times its weight, where that is not 0."""
        opt = self.options
        targets = self._targets_of(step.profiles, step.kinds)
        rows = torch.randperm(len(targets), generator=self._generator)[: opt.frozen_sample]
        shared, wanted = unit_rows(self.modules(step.collaborative[rows])), targets[rows]
        found = {}
        if opt.frozen_global:
            apart = shared @ shared.T - wanted @ wanted.T
            found["glo"] = opt.frozen_global * apart.square().mean()
        if opt.frozen_local:
            total = shared.new_zeros(())
            for kind, place in step.kinds.items():
                inside = (rows >= place.start) & (rows < place.stop)
                centers = self._centers[kind] / opt.frozen_temperature
                near = (wanted[inside] @ centers.T).softmax(1)
                total = total - (near * (shared[inside] @ centers.T).log_softmax(1)).sum(1).mean()
            found["loc"] = opt.frozen_local * total
        return found

    def _targets_of(self, profiles: Tensor, kinds: Mapping[str, slice]) -> Tensor:
        if self._targets is None:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                width, count = self.options.frozen_width, self.options.frozen_centers
                parts = [whitened_rows(profiles[rows].float(), width) for rows in kinds.values()]
                self._targets = unit_rows(torch.cat(parts))
                for kind, rows in kinds.items():
                    centers = kmeans(self._targets[rows], count, iterations=20)[1]
                    self._centers[kind] = unit_rows(centers)
        return self._targets


def main() -> None:
    """Train one model and add its line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--model", choices=list(COMMON), default="LightGCN")
    parser.add_argument("--global", type=float, default=0.0, dest="glo")
    parser.add_argument("--local", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--common", nargs="*", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    from recbole_darec import run_recbole_darec
    from recbole_darec.settings.values import parse_value

    if not args.out.parent.is_dir():
        raise DataError(f"--out: '{args.out.parent}' is no folder; make it, or name another")
    words = (word.partition("=") for word in args.common)
    given: dict[str, Any] = {name: parse_value(value) for name, _, value in words}
    values = {
        "data_path": args.data_path, "align": "frozen", "seed": args.seed, "num_threads": 1,
        "eval_step": 3, "stopping_step": 10, "topk": [20], "valid_metric": "Recall@20",
        "show_progress": False, "state": "WARNING", "snapshot_every": 0,
        "frozen_global": args.glo, "frozen_local": args.local,
    }  # fmt: skip
    settings = {**values, **COMMON[args.model], **given}
    registry.ALIGNERS["frozen"] = f"{__name__}:Frozen"
    try:
        result = run_recbole_darec(args.model, args.dataset, config_dict=settings)
    finally:
        del registry.ALIGNERS["frozen"]
    scores = (result[part]["recall@20"] for part in ("best_valid_result", "test_result"))
    weights = {"global": args.glo, "local": args.local}
    method = ", ".join(f"{name} {w:g}" for name, w in weights.items() if w) or "none"
    if given.get("profile_control") == "shuffle":
        method += " shuffled"
    line = (method, args.dataset, args.model, " ".join(args.common), args.seed)
    fresh = not args.out.exists()
    with args.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(FIELDS)
        writer.writerow((*line, *(f"{score:.6f}" for score in scores), result["best_epoch"]))


if __name__ == "__main__":
    sys.exit(exit_code(main))

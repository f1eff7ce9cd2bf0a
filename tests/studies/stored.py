"""A study whose runs are in a store, with made-up results: what figures and pages are made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.studies.frequency import GROUPS
from recbole_darec.studies.outcome import Outcome
from recbole_darec.studies.plan import make_plan
from recbole_darec.studies.resolved import Resolved, Resolver
from recbole_darec.studies.results import open_results
from recbole_darec.studies.study import Study, read_study

STUDY = """\
name: small
question: Do profiles help where edges are noise?
datasets: [tiny]
backbones: {LightGCN: {embedding_size: 8}}
aligners: [none, rlmrec_con, darec]
variants:
  noise 5 %: {set: {train_noise: 0.05}}
  noise 10 %: {set: {train_noise: 0.1}}
  no orthogonality: {align: darec, set: {weight_or: 0.0}}
seeds: [1, 2, 3]
common: {epochs: 20}
metric: Recall@20
report: [recall@20, ndcg@20]
"""

GAINS = {"none": 0.0, "rlmrec_con": 0.03, "darec": 0.05}


def write_study(folder: Path) -> Study:
    """Write the study's yaml and read it; the tiny data set is under ``folder``."""
    (folder / "small.yaml").write_text(STUDY, encoding="utf-8")
    return read_study(str(folder / "small.yaml"))


def fill(study: Study, path: Path, model_file: Path | None = None, share: float = 1.0) -> None:
    """Put made-up results into a store.

    Args:
        study: the study.
        path: of the store.
        model_file: kept model of DaRec's runs without a variant.
        share: of the runs, that are done.
    """
    with open_results(path) as store:
        plan = make_plan(study, Resolver(study.folder, store.digest_of), store.rows())
        for run in plan.runs[: round(share * len(plan.runs))]:
            assert run.fault is None, run.fault
            method = run.trial.method
            store.add(
                {
                    "key": run.key, "dataset": method.dataset, "model": method.model,
                    "align": method.align, "seed": run.trial.seed, "options": dict(run.values),
                    "data": run.data, "state": "pending",
                }
            )  # fmt: skip
            store.finish(run.key, _outcome(run, model_file), "2026-01-01T00:00:00+00:00")


def _outcome(run: Resolved, model_file: Path | None) -> Outcome:
    method = run.trial.method
    rng = np.random.default_rng([run.trial.seed, len(method.name)])
    noise = float(run.values.get("train_noise", 0.0))
    level = 0.2 * (1 + GAINS[method.align]) * (1 - (0.6 - 4 * GAINS[method.align]) * noise)
    if method.variant == "no orthogonality":
        level *= 0.99
    recall = level + float(rng.normal(0, 0.0008))
    test = {"recall@20": recall, "ndcg@20": 0.6 * recall}
    groups: dict[str, Any] = {"users": {}, "items": {}}
    for n, group in enumerate(GROUPS):
        factor = 1 + GAINS[method.align] * (2 - n)
        groups["users"][group] = {
            "n": 20, "most": 5 * n, **{k: v * factor for k, v in test.items()}
        }  # fmt: skip
        groups["items"][group] = {"n": 20, "most": 5 * n, "recall@20": 0.05 * (n + 1) * factor}
    curve = []
    for epoch in range(20):
        losses = {"base": 0.7 * 0.85**epoch}
        if method.align != "none":
            losses["align"] = 0.1 + 0.2 * 0.9**epoch * (1 + GAINS[method.align])
        valid = recall * (1 - 0.7 * 0.75**epoch)
        curve.append({"epoch": epoch, "seconds": 1.0, "losses": losses, "valid": valid})
    kept = method.align == "darec" and not method.variant
    return Outcome(
        "done",
        valid=test,
        test=test,
        best_epoch=18,
        groups=groups,
        curve=curve,
        seconds=20.0 + 10 * GAINS[method.align],
        model_file=str(model_file) if kept and model_file is not None else None,
    )

"""A table: what it says of results whose right answer is known."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recbole_darec.errors import DataError
from recbole_darec.studies.comparison import Comparison, compared
from recbole_darec.studies.frame import read_frame
from recbole_darec.studies.outcome import Outcome
from recbole_darec.studies.plan import check_versions, make_plan
from recbole_darec.studies.progress import Progress
from recbole_darec.studies.resolved import Resolved, Resolver
from recbole_darec.studies.results import Store, open_results
from recbole_darec.studies.search import tuning_trials
from recbole_darec.studies.study import Study
from recbole_darec.studies.tables import as_csv, as_latex, as_markdown

Make = Callable[..., Study]
# By method and seed.
SCORES = {
    "none": (0.20, 0.22, 0.21),
    "rlmrec_con": (0.21, 0.24, 0.22),
    "text_filter": (0.26, 0.275, 0.268),
    "text_filter no_text": (0.24, 0.26, 0.245),
}


@pytest.fixture
def study(make_study: Make) -> Study:
    return make_study(
        aligners=["none", "rlmrec_con", "text_filter"], seeds=[1, 2, 3], ours=["text_filter"]
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_results(tmp_path / "s.sqlite") as store:
        yield store


def fill(study: Study, store: Store, *, version: str | None = None) -> list[str]:
    """Put the scores into a store, as runs of 50 users whose metrics have them as their means."""
    store.version = version or store.version
    plan = make_plan(study, Resolver(study.folder, store.digest_of), {})
    for run in plan.runs:
        method, seed = run.trial.method, run.trial.seed
        score = SCORES[method.name][seed - 1]
        store.add({"key": run.key, "dataset": "tiny", "model": "LightGCN", "align": method.align,
                   "seed": seed, "options": {}, "data": run.data, "state": "running"})  # fmt: skip
        noise = np.random.default_rng(seed).standard_normal(50) / 100
        users = (score + noise - noise.mean()).astype(np.float32)
        metrics = {"recall@10": score, "ndcg@10": score / 2}
        content = {"users": np.arange(50, dtype=np.int32), "recall@10": users, "ndcg@10": users / 2}
        store.finish(
            run.key, Outcome("done", None, metrics, metrics, 3, users=content, seconds=2.0), "now"
        )
    return plan.keys


def keep(store: Store, run: Resolved, outcome: Outcome) -> None:
    """Put a run's outcome into a store."""
    method = run.trial.method
    store.add({"key": run.key, "dataset": "tiny", "model": method.model, "align": method.align,
               "seed": run.trial.seed, "options": {}, "data": "", "state": "running"})  # fmt: skip
    store.finish(run.key, outcome, "now")


def table_of(study: Study, store: Store, *, per_user: bool = False) -> Comparison:
    return compared(read_frame(study, store), ["recall@10", "ndcg@10"], per_user=per_user)


def test_means_gains_and_rivals(study: Study, store: Store) -> None:
    fill(study, store)
    lines = {line.method: line for line in table_of(study, store).lines}
    assert list(lines) == list(SCORES)
    cell = lines["text_filter"].cells[0]
    assert cell.mean == pytest.approx(np.mean(SCORES["text_filter"]))
    assert cell.deviation == pytest.approx(np.std(SCORES["text_filter"], ddof=1))
    assert cell.base is not None
    assert cell.rival is not None
    assert (cell.base.other, cell.rival.other) == ("none", "rlmrec_con")
    assert cell.base.gain == pytest.approx(0.803 / 0.63 - 1)
    assert cell.rival.gain == pytest.approx(0.803 / 0.67 - 1)
    none = lines["none"].cells[0]
    assert none.base is None
    assert none.rival is not None
    assert none.rival.other == "rlmrec_con"  # text_filter is the study's own, no_text a variant


def test_of_a_metric_that_is_better_when_smaller_the_best_is_the_smallest(
    make_study: Make, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting that is chosen, the best so far, the rival, the methods that are better."""
    study = make_study(
        aligners=["none", "rlmrec_con", "text_filter"],
        backbones=["LightGCN", "SimGCL"],
        variants=None,
        seeds=[1, 2, 3],
        metric="GiniIndex@10",
        report=["giniindex@10"],
        common={"metrics": ["GiniIndex", "AveragePopularity"], "topk": [10]},
        tune={
            "trials": 3,
            "space": {
                **{name: {} for name in ("LightGCN", "SimGCL", "none", "text_filter")},
                "rlmrec_con": {"kd_weight": [0.01, 0.1, 1.0]},
            },
        },
    )
    resolver = Resolver(study.folder, store.digest_of)
    progress = Progress(study, sys.stderr)

    def finish(run: Resolved, score: float) -> None:
        noise = np.random.default_rng(run.trial.seed).standard_normal(50) / 1000
        users = {
            "users": np.arange(50, dtype=np.int32),
            "giniindex@10": (score + noise).astype(np.float32),
        }
        metrics = {"giniindex@10": score, "averagepopularity@10": score}
        outcome = Outcome("done", None, metrics, metrics, 1, users=users, seconds=1.0)
        keep(store, run, outcome)
        progress.note(run.trial, outcome)

    for run in make_plan(study, resolver, {}).runs:
        if run.trial.tuning:
            finish(run, {0.01: 0.5, 0.1: 0.3, 1.0: 0.4}[run.values["kd_weight"]])
    plan = make_plan(study, resolver, store.rows())
    runs = [run for run in plan.runs if not run.trial.tuning]
    weights = {run.values["kd_weight"] for run in runs if run.trial.method.align == "rlmrec_con"}
    assert weights == {0.1}
    scores = {"none": 0.8, "rlmrec_con": 0.75, "text_filter": 0.7}
    for run in runs:
        finish(run, scores[run.trial.method.align])
    progress.tell(plan, store.rows())
    assert "best so far 0.3000 (tiny" in capsys.readouterr().err

    table = compared(read_frame(study, store), ["giniindex@10"], per_user=True)
    rivals = {line.method: line.cells[0].rival for line in table.lines}
    assert {name: rival and rival.other for name, rival in rivals.items()} == {
        "none": "text_filter",
        "rlmrec_con": "text_filter",
        "text_filter": "rlmrec_con",
    }
    summary = as_markdown(table).partition("**Mean over data sets and backbones**")[2]
    assert "| text_filter | -12.5 % | 2 of 2 |" in summary


def test_p_values_are_corrected_over_the_whole_table(study: Study, store: Store) -> None:
    fill(study, store)
    table = table_of(study, store)
    found = [a for line in table.lines for c in line.cells for a in (c.base, c.rival) if a]
    order = sorted(found, key=lambda against: against.tests.t_test)
    highest = 0.0
    for n, against in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - n) * against.tests.t_test))
        assert against.t_corrected == pytest.approx(highest)


def test_over_users_there_are_as_many_pairs_as_users(study: Study, store: Store) -> None:
    fill(study, store)
    table = table_of(study, store, per_user=True)
    cell = table.lines[2].cells[0]
    assert cell.base is not None
    assert cell.base.tests.n == 50
    assert cell.base.significant
    assert "over users, Holm-corrected" in as_markdown(table)


def test_one_seed_has_no_deviation_and_no_p(make_study: Make, store: Store) -> None:
    study = make_study(aligners=["none", "rlmrec_con"], variants=None, seeds=[1])
    fill(study, store)
    table = table_of(study, store)
    cell = table.lines[1].cells[0]
    assert math.isnan(cell.deviation)
    assert cell.base is not None
    assert math.isnan(cell.base.t_corrected)
    text = as_markdown(table)
    assert "| LightGCN | rlmrec_con | 0.2100 | +5.0 % |" in text
    assert "†" not in text


def test_the_three_forms_say_the_same(study: Study, store: Store) -> None:
    fill(study, store)
    table = table_of(study, store)
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert len(rows) == 2 * len(SCORES)
    markdown, latex = as_markdown(table), as_latex(table)
    for row in rows:
        mean, deviation = float(row["mean"]), float(row["deviation"])
        assert f"| {mean:.4f} ± {deviation:.4f} |" in markdown
        assert f"& {mean:.4f} $\\pm$ {deviation:.4f} &" in latex
        gain = f"{100 * float(row['base_gain']):+.1f}" if row["base_gain"] else ""
        assert gain in markdown
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1
    assert "rlmrec\\_con" in latex
    assert "\\%" in latex
    assert not any("%" in line.replace("\\%", "") for line in latex.splitlines())


def test_several_backbones_have_their_mean_gain(make_study: Make, store: Store) -> None:
    study = make_study(
        backbones=["LightGCN", "SimGCL"],
        aligners=["none", "rlmrec_con", "text_filter"],
        seeds=[1, 2, 3],
    )
    fill(study, store)
    text = as_markdown(table_of(study, store, per_user=True))
    summary = text.partition("**Mean over data sets and backbones**")[2]
    gain = 100 * (0.803 / 0.63 - 1)
    assert f"| text_filter | {gain:+.1f} % | 2 of 2 | {gain:+.1f} % | 2 of 2 |" in summary
    assert "| none |" not in summary


def test_times_stand_in_the_table_where_the_study_asks_for_them(
    make_study: Make, store: Store
) -> None:
    study = make_study(aligners=["none", "rlmrec_con"], variants=None, seeds=[1, 2], times=True)
    for run in make_plan(study, Resolver(study.folder, store.digest_of), {}).runs:
        each = run.trial.seed / 4
        curve = [{"epoch": n, "seconds": each, "losses": {}, "valid": 0.1} for n in range(4)]
        if run.trial.method.align == "rlmrec_con":
            curve = [{"epoch": 0, "valid": 0.1}]  # nothing was trained: an epoch took no time
        metrics = {"recall@10": 0.2, "ndcg@10": 0.1}
        keep(store, run, Outcome("done", None, metrics, metrics, 1, curve=curve, seconds=30.0))
    table = table_of(study, store)
    lines = as_markdown(table).splitlines()
    assert lines[4].endswith("| s an epoch | s in total |")
    assert lines[6].endswith("| 0.38 | 30 |")
    assert lines[7].endswith("|  | 30 |")
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["epoch_seconds"] for row in rows] == ["0.375", "0.375", "", ""]
    assert "s an epoch" not in as_markdown(replace(table, times=False))


def test_names_are_escaped_in_latex(study: Study, store: Store) -> None:
    fill(study, store)
    table = table_of(study, store)
    line = replace(table.lines[0], method=r"λ=1 N̂ {a}$b^2\c~d_e")
    (row,) = (
        row for row in as_latex(replace(table, lines=(line,))).splitlines() if "lambda" in row
    )
    assert row.startswith(
        r"LightGCN & $\lambda$=1 $\hat{N}$ \{a\}\$b\textasciicircum{}2\textbackslash{}c"
        r"\textasciitilde{}d\_e & 0.2100 $\pm$ 0.0100 &"
    )


def test_a_part_of_the_seeds_is_said(study: Study, store: Store) -> None:
    keys = fill(study, store)
    store.set_state(keys[0], "pending")
    text = as_markdown(table_of(study, store))
    assert "none (2 of 3 seeds)" in text
    assert "11 of 12 runs are done." in text


def test_an_empty_study_and_an_unknown_metric_are_one_line(study: Study, store: Store) -> None:
    with pytest.raises(DataError, match="has no finished run yet"):
        table_of(study, store)
    fill(study, store)
    with pytest.raises(DataError, match=r"'hit@10' was not computed; there are ndcg@10, recall@10"):
        compared(read_frame(study, store), ["hit@10"])


def test_another_version_counts_only_where_asked(study: Study, store: Store) -> None:
    here = store.version
    keys = fill(study, store, version="0.0.9")
    store.version = here
    with pytest.raises(DataError, match=r"has 12 runs by version 0\.0\.9, and this is"):
        check_versions(store, keys, "error")
    check_versions(store, keys, "again")
    assert store.rows() == {}
    check_versions(store, keys, "reuse")
    assert {row.version for row in store.rows().values()} == {"0.0.9"}
    assert len(table_of(study, store).lines) == len(SCORES)


def test_tuning_takes_the_best_validation_and_variants_follow(
    make_study: Make, store: Store
) -> None:
    study = make_study(
        aligners=["none", "rlmrec_con"],
        variants={
            "shuffled": {"align": "rlmrec_con", "set": {"profile_control": "shuffle"}},
            "stronger": {"align": "rlmrec_con", "set": {"kd_weight": 2.0}},
        },
        tune={
            "trials": 3,
            "space": {"LightGCN": {}, "none": {}, "rlmrec_con": {"kd_weight": [0.01, 0.1, 1.0]}},
        },
    )
    resolver = Resolver(study.folder, store.digest_of)
    plan = make_plan(study, resolver, {})
    tuning = [run for run in plan.runs if run.trial.tuning]
    assert [run.trial.setting for run in tuning] == [{"kd_weight": w} for w in (0.01, 0.1, 1.0)]
    assert plan.n_waiting == 6
    # The best test metric is not the one that counts.
    for run, valid, test in zip(tuning, (0.2, 0.5, 0.1), (0.9, 0.1, 0.2)):
        store.add({"key": run.key, "dataset": "tiny", "model": "LightGCN", "align": "rlmrec_con",
                   "seed": 2020, "options": {}, "data": "", "state": "running"})  # fmt: skip
        found = Outcome("done", None, {"recall@10": valid}, {"recall@10": test}, 1)
        store.finish(run.key, found, "now")
    plan = make_plan(study, resolver, store.rows())
    assert plan.n_waiting == 0
    chosen = {(r.trial.method.name, r.values["kd_weight"]) for r in plan.runs
              if not r.trial.tuning and r.trial.method.align != "none"}  # fmt: skip
    assert chosen == {
        ("rlmrec_con", 0.1), ("rlmrec_con shuffled", 0.1), ("rlmrec_con stronger", 2.0),
    }  # fmt: skip
    told = read_frame(study, store).frame
    told = told[~told["tuning"] & (told["align"] != "none")]
    assert dict(zip(told["method"], told["setting"])) == {
        "rlmrec_con": "kd_weight=0.1",
        "rlmrec_con shuffled": "kd_weight=0.1",
        "rlmrec_con stronger": "kd_weight=2.0",
    }


def test_a_method_whose_tuning_failed_says_so(make_study: Make, store: Store) -> None:
    study = make_study(
        variants=None,
        tune={
            "trials": 1,
            "space": {"LightGCN": {}, "none": {}, "text_filter": {"filter_width": [-1]}},
        },
    )
    resolver = Resolver(study.folder, store.digest_of)
    (run,) = (run for run in make_plan(study, resolver, {}).runs if run.trial.tuning)
    assert run.fault is not None
    store.add({"key": run.key, "dataset": "tiny", "model": "LightGCN", "align": "text_filter",
               "seed": 1, "options": {}, "data": "", "state": "failed",
               "reason": run.fault})  # fmt: skip
    (reason,) = make_plan(study, resolver, store.rows()).untuned.values()
    assert reason.startswith("each of its 1 tuning runs failed: filter_width=-1 must be at least 1")


def test_a_method_whose_tuning_runs_were_not_validated_says_so(
    make_study: Make, store: Store
) -> None:
    study = make_study(
        variants=None, common={"eval_step": 0},
        tune={"trials": 1, "space": {"LightGCN": {}, "none": {}, "text_filter": {"seed": [1]}}},
    )  # fmt: skip
    resolver = Resolver(study.folder, store.digest_of)
    (run,) = (run for run in make_plan(study, resolver, {}).runs if run.trial.tuning)
    store.add({"key": run.key, "dataset": "tiny", "model": "LightGCN", "align": "text_filter",
               "seed": 1, "options": {}, "data": "", "state": "running"})  # fmt: skip
    store.finish(run.key, Outcome("done", None, {}, {"recall@10": 0.1}, 1), "now")
    (reason,) = make_plan(study, resolver, store.rows()).untuned.values()
    assert reason == "none of its tuning runs was validated: see eval_step under 'common'"


def test_a_model_by_itself_is_tuned_by_its_own_ranges_alone(make_study: Make) -> None:
    space = {"LightGCN": {}, "none": {"learning_rate": [0.1, 0.2]}, "EASE": {"reg_weight": [1, 2]}}
    study = make_study(alone=["EASE"], tune={"trials": 2, "space": space})
    (method,) = (method for method in study.methods() if method.alone)
    settings = [trial.setting for trial in tuning_trials(study, method)]
    assert settings == [{"reg_weight": 1}, {"reg_weight": 2}]

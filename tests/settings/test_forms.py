"""Reports from RecBole's users: values that RecBole reads in another way, or ends on late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_darec.errors import DataError, OptionError
from recbole_darec.resolve import resolve
from recbole_darec.testing.tiny_runs import prepared


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"state": "LOUD"}, "state=LOUD is no level of a log: DEBUG"),
        ({"rm_dup_inter": "frist"}, "rm_dup_inter=frist: say which row"),
        ({"eval_args": {"mode": "uni"}}, "mode=uni is none of full, uni100"),
        ({"eval_args": {"mode": {"valid": "uni10", "test": "all"}}}, "mode=all is none of full"),
        ({"clip_grad_norm": {"max_nrom": 5}}, "unknown key 'max_nrom' .did you mean 'max_norm'"),
        ({"train_neg_sample_args": {"sample_num": 0}}, "sample_num=0 must be a whole number"),
        ({"train_neg_sample_args": {"candidate_num": -1}}, "candidate_num=-1 must be a whole"),
        ({"train_neg_sample_args": {"sampel_num": 2}}, "unknown key 'sampel_num'"),
    ],
)
def test_a_value_that_recbole_misreads_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolve("LightGCN", "ml-100k", None, {"align": "none", **given})


@pytest.mark.parametrize(
    "given",
    [
        {"state": "debug"},
        {"rm_dup_inter": "last"},
        {"eval_args": {"mode": {"valid": "uni100", "test": "full"}}},
        {"clip_grad_norm": {"max_norm": 5, "norm_type": 2}},
        {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 2, "alpha": 0.5}},
    ],
)
def test_the_right_form_is_taken(given: dict[str, Any]) -> None:
    resolve("LightGCN", "ml-100k", None, {"align": "none", **given})


ORDERED = {"split": {"RS": [8, 1, 1]}, "group_by": "user", "order": "TO"}


@pytest.fixture
def unsplit(tiny_dataset: object, tmp_path: Path) -> Path:
    """The tiny data set in one file, with times."""
    folder = tmp_path / "dataset" / "tiny"
    lines = [
        line
        for part in ("train", "valid", "test")
        for line in (folder / f"tiny.{part}.inter").read_text().splitlines()[1:]
    ]
    rows = "".join(f"{line}\t{n}\n" for n, line in enumerate(lines))
    (folder / "tiny.inter").write_text(f"user_id:token\titem_id:token\ttimestamp:float\n{rows}")
    (folder / "tiny.yaml").write_text("benchmark_filename: ~\n")
    return tmp_path / "dataset"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eval_args": ORDERED}, "no column 'timestamp' of .* is read: add it to load_col"),
        ({"eval_args": ORDERED, "TIME_FIELD": "time"}, "no column 'time' of .*set TIME_FIELD"),
        ({"load_col": {"inter": ["user_id", "itemid"]}}, "'itemid' .did you mean 'item_id'"),
        ({"user_inter_num_interval": "[999,inf)"}, "no interaction is left after filtering"),
    ],
)
def test_data_that_are_not_there_are_one_line(
    given: dict[str, Any], message: str, unsplit: Path
) -> None:
    with pytest.raises(DataError, match=message):
        prepared(unsplit, align="none", **given)


def test_times_that_are_read_order_the_parts(unsplit: Path) -> None:
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    run = prepared(unsplit, align="none", eval_args=ORDERED, load_col=columns)
    earlier, later = (part._dataset.inter_feat for part in (run.train_data, run.test_data))
    for user in later["user_id"].unique().tolist():
        before = earlier["timestamp"][earlier["user_id"] == user]
        assert before.max() < later["timestamp"][later["user_id"] == user].min()


def test_sparse_adam_wants_sparse_gradients(tiny_dataset: object, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="learner=sparse_adam takes sparse gradients"):
        prepared(tmp_path / "dataset", align="none", learner="sparse_adam")

"""Ids counted, filtered and numbered by column, against RecBole's own loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_darec.recbole_compat import load_dataset
from tests.recbole_compat.test_fast_data import PLAIN, config_of, everything, recboles

ROWS = np.random.default_rng(8).zipf(1.5, (300, 2)).clip(max=40)
CHOSEN: dict[str, dict[str, Any]] = {
    "none": {"user_inter_num_interval": None, "item_inter_num_interval": None},
    "a core": {"user_inter_num_interval": "[3,inf)", "item_inter_num_interval": "[4,inf)"},
    "users alone": {"user_inter_num_interval": "(2,20]", "item_inter_num_interval": None},
    "items alone": {"user_inter_num_interval": None, "item_inter_num_interval": "[2,30)"},
    "several": {"user_inter_num_interval": "[9,40];[2,4]", "item_inter_num_interval": "[1,80]"},
    "repeated ones": {"rm_dup_inter": "first", "user_inter_num_interval": "[2,inf)"},
    "values": {"val_interval": {"rating": "[1,4]"}},
    "known ones": {"filter_inter_by_user_or_item": True, "item_inter_num_interval": "[2,inf)"},
}


def write(folder: Path, *parts: str) -> None:
    folder.mkdir()
    lines = [f"u{user}\ti{item}\t{n % 6}\t{n}\n" for n, (user, item) in enumerate(ROWS)]
    for n, part in enumerate(parts):
        rows = lines[n * 100 : (n + 1) * 100] if parts[1:] else lines
        (folder / f"toy{part}.inter").write_text(PLAIN + "".join(rows))


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("case", CHOSEN)
def test_what_is_left_is_what_recbole_leaves(tmp_path: Path, case: str, features: bool) -> None:
    write(tmp_path / "toy", "")
    if features:  # of items and users some of whom have no interaction, or few
        for kind in ("user", "item"):
            rows = "".join(f"{kind[0]}{n}\tc{n % 3}\n" for n in range(0, 60, 2))
            (tmp_path / "toy" / f"toy.{kind}").write_text(
                f"{kind}_id:token\tclass_of_{kind}:token\n{rows}"
            )
    changed = {"filter_inter_by_user_or_item": False, **CHOSEN[case]}
    config = config_of(tmp_path, load_col=None, **changed)
    np.testing.assert_equal(everything(load_dataset(config)), everything(recboles(config)))


def test_three_files_have_their_ids_together(tmp_path: Path) -> None:
    parts = ["train", "valid", "test"]
    write(tmp_path / "toy", *(f".{part}" for part in parts))
    config = config_of(tmp_path, load_col=None, benchmark_filename=parts)
    np.testing.assert_equal(everything(load_dataset(config)), everything(recboles(config)))


def test_users_and_items_may_have_one_numbering(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.inter").write_text(
        "user_id:token\titem_id:token\tfriend:token\n" + "a\tx\tb\nb\ty\t\nc\tx\ta\nd\tz\te\n"
    )
    config = config_of(tmp_path, load_col=None, alias_of_user_id=["friend"])
    np.testing.assert_equal(everything(load_dataset(config)), everything(recboles(config)))

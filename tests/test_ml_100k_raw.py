"""docs/results/ml_100k_raw.py: RecBole's copy of ml-100k in the form of a raw release."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY, RunCli

SCRIPT = REPOSITORY / "docs" / "results" / "ml_100k_raw.py"


def test_prepare_reads_all_of_it(tmp_path: Path, run_warm: RunCli) -> None:
    raw = tmp_path / "raw"
    made = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(raw)], capture_output=True, text=True
    )
    assert made.stdout == f"100,000 ratings of 1,682 movies in {raw}\n", made.stderr
    with (raw / "movies.csv").open(newline="") as file:
        assert next(csv.DictReader(file)) == {
            "movieId": "1", "title": "Toy Story (1995)", "genres": "Animation|Children's|Comedy",
        }  # fmt: skip
    asked = ["prepare", "movielens", "--raw", str(raw), "--dataset", "latest", "--min-rating", "4"]
    asked += ["--split", "leave-one-out", "--user-core", "5", "--item-core", "0", "--latest", "23"]
    told = run_warm(asked, tmp_path)
    assert told.returncode == 0, told.stderr
    assert "interactions read                                 100,000" in told.stdout
    assert "interactions kept                                 19,194" in told.stdout

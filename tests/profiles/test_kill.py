"""Runs killed with SIGKILL: the next one goes on, asks nothing twice and pays nothing twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from openai_server import Fault, Plan, serve_process

from .small_shop import MODEL, write_shop

# A fifth of the requests: what is lost on the way, and what comes back as no profile.
FAULTS = {
    "rate_limit": 0.05,
    "server_error": 0.04,
    "drop": 0.02,
    "drop_mid_body": 0.02,
    "slow": 0.01,
    "bad_body": 0.01,
    "model_not_found": 0.01,
    "prose": 0.02,
    "truncated": 0.01,
    "refusal": 0.01,
}


def start(data_path: Path, base_url: str, concurrency: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "recbole_darec", "profile", "--dataset=shop",
         f"--data-path={data_path}", f"--model={MODEL}", f"--base-url={base_url}",
         f"--concurrency={concurrency}", "--attempts=6"],
        env={**os.environ, "OPENAI_API_KEY": "x"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def stored(store: Path) -> int:
    """How many answers another process has kept so far."""
    if not store.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as reader:
            return reader.execute("SELECT count(*) FROM answers WHERE status = 'ok'").fetchone()[0]
    except sqlite3.OperationalError:  # the file is there, its tables are not yet
        return 0


def kill_thrice_and_finish(
    tmp_path: Path, n_users: int, n_items: int, concurrency: int, most_lost: float = 1.0
) -> None:
    prompts = n_users + n_items
    folder = write_shop(tmp_path, n_users=n_users, n_items=n_items)
    store, log = folder / "shop.store.sqlite", tmp_path / "paid.jsonl"
    plan = Plan(
        by="attempt",
        latency_s=0.05,
        jitter_s=0.02,
        retry_after_s=0.1,
        slow_s=0.2,
        faults=tuple(Fault(kind, share, None) for kind, share in FAULTS.items()),
    )
    with serve_process(plan, log) as server:
        for kill in range(1, 4):
            process = start(tmp_path, server.base_url, concurrency)
            while stored(store) < kill * prompts / 4:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        process = start(tmp_path, server.base_url, concurrency)
        output = process.communicate()[0]
        assert process.returncode == 0, output
        peak = server.counters()["peak_concurrency"]
    with closing(sqlite3.connect(store)) as reader:
        rows = reader.execute("SELECT kind, id, status FROM answers").fetchall()
    assert len(rows) == prompts
    assert Counter(rows) == Counter(
        [("item", f"i{n}", "ok") for n in range(n_items)]
        + [("user", f"u{n}", "ok") for n in range(n_users)]
    ), "each prompt once, and every one of them answered"
    paid = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    useful = [row for row in paid if row["fault"] in (None, "slow")]
    # What a kill loses is what was under way: paid, and not yet kept.
    assert prompts <= len(useful) <= prompts + min(3 * concurrency, most_lost * prompts)
    assert peak <= concurrency
    for kind, count in (("user", n_users), ("item", n_items)):
        lines = (folder / f"shop.{kind}profile.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == count


def test_a_run_killed_three_times(tmp_path: Path) -> None:
    kill_thrice_and_finish(tmp_path, n_users=80, n_items=120, concurrency=5)


@pytest.mark.slow
def test_ten_thousand_prompts_killed_three_times(tmp_path: Path) -> None:
    kill_thrice_and_finish(tmp_path, n_users=4000, n_items=6000, concurrency=64, most_lost=0.01)

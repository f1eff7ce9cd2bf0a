"""Profiles by the Batch API, of a real server on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openai_server import Fault, Plan, answer_for, serve, serve_process

from recbole_darec.llm.client import ServerError
from recbole_darec.llm.prices import read_price
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.prompts import PromptOptions, item_prompts

from .small_shop import MODEL, make, plan_for, reasons, shop, total, write_shop

N_ITEMS, N_USERS = 20, 12
ALL = N_ITEMS + N_USERS
BATCH = {"batch": True, "poll_seconds": 0.02}


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return shop(tmp_path, n_users=N_USERS, n_items=N_ITEMS)


def test_a_batch_of_items_then_one_of_users(material: Material, tmp_path: Path) -> None:
    with serve() as server:
        plan = plan_for(server.base_url, tmp_path, **BATCH)
        report = make(material, plan)
        assert server.log.requests["chat"] == 0
        created = server.log.requests["batches"]
        again = make(material, plan)
        assert server.log.requests["batches"] == created
        paid = read_price(MODEL, batch=True).cost(
            server.log.prompt_tokens, server.log.completion_tokens
        )
    prompts, _ = item_prompts(material, plan.domain, PromptOptions())
    assert report.texts["item"] == {p.id: answer_for(p.text)["summarization"] for p in prompts}
    assert report.complete
    assert again.texts == report.texts
    assert report.cost == pytest.approx(paid)
    assert again.cost_before == pytest.approx(paid)


def test_answers_one_by_one_and_by_batch_are_the_same_question(
    material: Material, tmp_path: Path
) -> None:
    with serve() as server:
        one_by_one = make(material, plan_for(server.base_url, tmp_path))
        by_batch = make(material, plan_for(server.base_url, tmp_path, **BATCH))
        assert server.log.requests["batches"] == 0
    assert by_batch.texts == one_by_one.texts


@pytest.mark.parametrize("kind", ["prose", "refusal", "truncated", "server_error"])
def test_a_useless_line_goes_into_the_next_batch(
    material: Material, tmp_path: Path, kind: str
) -> None:
    with serve(Plan(by="attempt", faults=(Fault(kind, 0.3),))) as server:
        report = make(material, plan_for(server.base_url, tmp_path, attempts=8, **BATCH))
        assert server.log.faults[kind] > 0
    assert report.complete, reasons(report)
    assert total(report, "answered") == ALL


def test_lines_that_stay_useless_are_failures(material: Material, tmp_path: Path) -> None:
    with serve(Plan(script=(("A description of thing 7", ("prose",) * 9),))) as server:
        report = make(material, plan_for(server.base_url, tmp_path, attempts=2, **BATCH))
    assert report.tallies["item"].failed == 1
    assert reasons(report) == {"the answer is not valid JSON": 1}
    assert report.tallies["user"].answered == N_USERS


def test_what_an_expired_batch_left_is_asked_again(material: Material, tmp_path: Path) -> None:
    with serve(Plan(batch_outcomes=("expired",), expired_share=0.4)) as server:
        report = make(material, plan_for(server.base_url, tmp_path, **BATCH))
        paid = server.log.paid_by_prompt
    assert report.complete, reasons(report)
    assert len(paid) == ALL
    assert set(paid.values()) == {1}


def test_a_batch_that_the_server_refuses_is_an_error(material: Material, tmp_path: Path) -> None:
    with serve(Plan(batch_outcomes=("failed",))) as server:
        plan = plan_for(server.base_url, tmp_path, **BATCH)
        with pytest.raises(ServerError, match="refuses the batch"):
            make(material, plan)
        assert make(material, plan).complete


def test_a_batch_keeps_to_the_limit_of_cost(material: Material, tmp_path: Path) -> None:
    price = read_price(MODEL, batch=True)
    with serve() as server:
        whole = make(material, plan_for(server.base_url, tmp_path / "a", max_tokens=60, **BATCH))
        before = server.log.prompt_tokens, server.log.completion_tokens
        limit = whole.cost / 2
        report = make(
            material,
            plan_for(server.base_url, tmp_path / "b", max_tokens=60, max_cost=limit, **BATCH),
        )
        spent = price.cost(
            server.log.prompt_tokens - before[0], server.log.completion_tokens - before[1]
        )
    assert report.stopped
    assert 0 < spent <= limit
    assert total(report, "open") > 0


def test_a_run_killed_while_it_waits_finds_its_batch_again(tmp_path: Path) -> None:
    folder = write_shop(tmp_path, n_users=N_USERS, n_items=N_ITEMS)
    command = [sys.executable, "-m", "recbole_darec", "profile", "--dataset=shop",
               f"--data-path={tmp_path}", f"--model={MODEL}", "--batch",
               "--poll-seconds=0.05"]  # fmt: skip
    environment = {**os.environ, "OPENAI_API_KEY": "x"}
    with serve_process(Plan(batch_polls=(1, 40, 1))) as server:
        command.append(f"--base-url={server.base_url}")
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while server.counters()["requests"].get("batches", 0) < 3:  # made, and looked at
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        one_by_one = [word for word in command if word != "--batch"]
        refused = subprocess.run(
            one_by_one, env=environment, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2
        assert "go on with --batch" in refused.stderr
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        paid = server.counters()["paid"]
    assert sum(paid.values()) == ALL
    assert len((folder / "shop.userprofile.jsonl").read_text().splitlines()) == N_USERS


def test_a_batch_whose_making_was_cut_off_is_found_by_its_name(
    material: Material, tmp_path: Path
) -> None:
    """The process dies after the server has made the batch and before it has told its id."""
    import sqlite3
    from contextlib import closing

    with serve(Plan(batch_polls=(1, 1, 1))) as server:
        plan = plan_for(server.base_url, tmp_path, **BATCH)
        make(material, plan)
        paid = sum(server.log.paid.values())
        with closing(sqlite3.connect(plan.store)) as store, store:
            store.execute("DELETE FROM answers")
            store.execute("UPDATE batches SET done = 0, batch_id = NULL")
        assert make(material, plan).complete
        assert sum(server.log.paid.values()) == paid

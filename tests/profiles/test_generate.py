"""Profiles by a language model, asked of a real server on loopback that makes faults by plan."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from openai_server import Fault, Plan, answer_for, serve

from recbole_darec.errors import DataError, OptionError
from recbole_darec.llm.client import ServerError
from recbole_darec.llm.prices import read_price
from recbole_darec.profiles.answers import Paid
from recbole_darec.profiles.budget import Budget, BudgetReached
from recbole_darec.profiles.files import export_answers
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.prompts import PromptOptions, item_prompts, user_prompts

from .small_shop import make, plan_for, reasons, shop, total

N_ITEMS, N_USERS = 20, 12
ALL = N_ITEMS + N_USERS


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return shop(tmp_path, n_users=N_USERS, n_items=N_ITEMS)


def faulty(kind: str, share: float = 0.5, attempts: int | None = 1, **more: object) -> Plan:
    quick = {"retry_after_s": 0.01, "slow_s": 0.1, "delay_s": 0.1, **more}
    return Plan(by="attempt", faults=(Fault(kind, share, attempts),), **quick)


def test_items_first_then_users_with_the_items_profiles(material: Material, tmp_path: Path) -> None:
    with serve() as server:
        plan = plan_for(server.base_url, tmp_path)
        report = make(material, plan)
    items, nothing = item_prompts(material, plan.domain, PromptOptions())
    expected = {p.id: answer_for(p.text)["summarization"] for p in items}
    assert not nothing
    assert report.texts["item"] == expected
    users, _ = user_prompts(material, plan.domain, PromptOptions(), expected)
    assert report.texts["user"] == {p.id: answer_for(p.text)["summarization"] for p in users}
    assert list(report.texts["user"]) == list(material.users.ids)
    assert report.complete
    assert server.log.paid["chat"] == ALL == total(report, "requests")
    assert total(report, "prompt_tokens") == server.log.prompt_tokens


def test_a_second_run_asks_nothing_and_writes_the_same(material: Material, tmp_path: Path) -> None:
    with serve() as server:
        plan = plan_for(server.base_url, tmp_path)
        first, second = make(material, plan), make(material, plan)
        assert server.log.requests["chat"] == ALL
    assert second.texts == first.texts
    assert total(second, "before") == ALL


@pytest.mark.parametrize("change", [{"temperature": 0.7}, {"model": "gpt-3.5-turbo"}])
def test_another_model_or_temperature_is_asked_anew(
    material: Material, tmp_path: Path, change: dict
) -> None:
    with serve() as server:
        make(material, plan_for(server.base_url, tmp_path))
        make(material, plan_for(server.base_url, tmp_path, **change))
        assert server.log.requests["chat"] == 2 * ALL


DELIVERY = ["rate_limit", "server_error", "unavailable", "drop", "drop_mid_body", "slow", "delay",
            "bad_body", "html_body", "model_not_found", "wrong_key"]  # fmt: skip


@pytest.mark.parametrize("kind", DELIVERY)
def test_what_is_lost_on_the_way_is_asked_again_and_paid_once(
    material: Material, tmp_path: Path, kind: str
) -> None:
    with serve(faulty(kind, 0.3)) as server:
        report = make(material, plan_for(server.base_url, tmp_path))
        assert server.log.faults[kind] > 0
        assert report.complete, reasons(report)
        assert total(report, "answered") == ALL
        assert all(count == 1 for count in server.log.paid_by_prompt.values())


USABLE = ["fenced", "single_quotes", "wrong_type", "think_tags", "parts", "reasoning_beside"]


@pytest.mark.parametrize("kind", USABLE)
def test_an_answer_in_another_form_is_used_and_not_asked_again(
    material: Material, tmp_path: Path, kind: str
) -> None:
    with serve(faulty(kind, 0.5)) as server:
        report = make(material, plan_for(server.base_url, tmp_path, attempts=1))
        assert server.log.faults[kind] > 0
        assert server.log.paid["chat"] == ALL
    assert report.complete, reasons(report)
    thoughts = server.log.faults[kind] if kind in ("think_tags", "parts", "reasoning_beside") else 0
    assert total(report, "thoughts") == thoughts
    assert ("answers after thoughts" in report.table()) == bool(thoughts)
    assert not any("thought about it" in text for text in report.texts["user"].values())


CONTENT = ["truncated", "prose", "wrong_keys", "empty", "only_thoughts", "cut_in_thoughts",
           "null_content", "refusal", "content_filter", "too_long", "no_choices"]  # fmt: skip


@pytest.mark.parametrize("kind", CONTENT)
def test_a_useless_answer_is_asked_again_with_the_reason(
    material: Material, tmp_path: Path, kind: str
) -> None:
    with serve(faulty(kind, 0.3, long_words=400)) as server:
        report = make(material, plan_for(server.base_url, tmp_path, attempts=8))
        assert server.log.faults[kind] > 0
        assert server.log.paid["chat"] == ALL + server.log.faults[kind]
    assert report.complete, reasons(report)
    assert total(report, "requests") == ALL + server.log.faults[kind]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("prose", "the answer is not valid JSON"),
        ("empty", "the answer is empty"),
        ("refusal", "the model refused"),
        ("truncated", "the answer was cut off"),
        ("too_long", 'the "summarization" is too long'),
        ("only_thoughts", "the answer is empty beside the model's thoughts"),
        ("cut_in_thoughts", "the answer was cut off in the model's thoughts"),
    ],
)
def test_what_stays_useless_is_recorded_with_its_raw_text(
    material: Material, tmp_path: Path, kind: str, reason: str
) -> None:
    plan = Plan(script=(("Thing number 7", (kind,) * 9),), long_words=400)
    with serve(plan) as server:
        ours = plan_for(server.base_url, tmp_path, attempts=3)
        report = make(material, ours)
        # The users' prompts name the thing, too.
        failed = total(report, "failed")
        assert "i7" not in report.texts["item"]
        assert not report.complete
        assert reasons(report) == {reason: failed}
        asked = server.log.requests["chat"]
        assert asked == ALL + 2 * failed
        again = make(material, ours)
        assert server.log.requests["chat"] == asked, "a failure is not asked again by itself"
        assert total(again, "failed") == failed
    rows = [json.loads(line) for line in exported(ours.store, tmp_path)]
    kept = [row for row in rows if row["status"] == "failed"]
    assert len(kept) == failed
    assert all(row["reason"].startswith(reason) for row in kept)
    if kind != "empty":
        assert all(row["raw"] for row in kept)
    table = again.table()
    assert f"failed, {reason}, in an earlier run: {failed}" in table
    assert ("bound them with --thinking" in table) == ("thoughts" in reason)


def exported(store: Path, tmp_path: Path) -> list[str]:
    export_answers(store, tmp_path / "answers.jsonl")
    return (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()


def test_failures_are_asked_again_on_demand(material: Material, tmp_path: Path) -> None:
    # Only the item's own prompt has its description: the users' have its profile.
    with serve(Plan(script=(("A description of thing 7", ("empty",)),))) as server:
        plan = plan_for(server.base_url, tmp_path, attempts=1)
        assert total(make(material, plan), "failed") == 1
        report = make(material, plan_for(server.base_url, tmp_path, attempts=1, retry_failed=True))
        assert report.complete
        assert report.tallies["item"].before == N_ITEMS - 1
        # A user whose prompt shows the new profile is another question.
        assert 0 < report.tallies["user"].answered < N_USERS


@pytest.mark.parametrize("known", ["json_schema", "json_object", "none"])
def test_the_form_of_answers_that_the_server_knows_is_found_out_once(
    material: Material, tmp_path: Path, known: str
) -> None:
    with serve(Plan(structured=known)) as server:
        report = make(material, plan_for(server.base_url, tmp_path))
        refused = {"json_schema": 0, "json_object": 1, "none": 2}[known]
        assert server.log.statuses == {200: ALL, **({400: refused} if refused else {})}
    assert report.complete


def test_a_form_that_was_demanded_and_is_not_known_is_an_error(
    material: Material, tmp_path: Path
) -> None:
    with serve(Plan(structured="none")) as server, pytest.raises(ServerError, match="structured"):
        make(material, plan_for(server.base_url, tmp_path, structured="schema"))


@pytest.mark.parametrize("unknown", ["max_tokens", "max_completion_tokens"])
def test_either_name_of_the_length_limit_will_do(
    material: Material, tmp_path: Path, unknown: str
) -> None:
    with serve(Plan(unsupported=(unknown,))) as server:
        assert make(material, plan_for(server.base_url, tmp_path)).complete


def test_a_temperature_that_the_model_refuses_is_told(material: Material, tmp_path: Path) -> None:
    with serve(Plan(unsupported=("temperature",))) as server:
        with pytest.raises(ServerError, match="--temperature=none"):
            make(material, plan_for(server.base_url, tmp_path))
        assert make(material, plan_for(server.base_url, tmp_path, temperature=None)).complete


def test_a_prompt_that_the_server_refuses_fails_alone(material: Material, tmp_path: Path) -> None:
    with serve(Plan(context_tokens=250)) as server:
        report = make(material, plan_for(server.base_url, tmp_path))
    assert report.tallies["item"].failed == 0
    assert 0 < report.tallies["user"].failed <= N_USERS
    assert set(reasons(report)) == {"the server refuses the request"}


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (Plan(key="another"), "check the key"),
        (Plan(models=("llama3",)), "gpt-4o-mini"),
        (Plan(faults=(Fault("insufficient_quota", 1.0, None),)), "quota"),
        (Plan(faults=(Fault("server_error", 1.0, None),)), "does not answer"),
    ],
)
def test_a_server_that_refuses_everything_is_one_error(
    material: Material, tmp_path: Path, plan: Plan, told: str
) -> None:
    with serve(plan) as server:
        ours = plan_for(server.base_url, tmp_path, server={"retries": 0})
        with pytest.raises(ServerError, match=told) as caught:
            make(material, ours)
        assert server.log.requests["chat"] <= 9
    assert "sk-of-the-tests" not in str(caught.value)


def test_a_server_that_dies_in_the_middle_leaves_what_it_answered(
    material: Material, tmp_path: Path
) -> None:
    with serve(Plan(script=(("[{", ("drop",) * 99),))) as server:  # every user's prompt
        plan = plan_for(server.base_url, tmp_path, server={"retries": 0, "concurrency": 2})
        with pytest.raises(ServerError, match="goes on with the rest"):
            make(material, plan)
    with serve() as server:
        report = make(material, plan_for(server.base_url, tmp_path))
        assert server.log.requests["chat"] == N_USERS
    assert report.complete


def test_no_more_requests_at_once_than_allowed(material: Material, tmp_path: Path) -> None:
    with serve(Plan(latency_s=0.05)) as server:
        make(material, plan_for(server.base_url, tmp_path, server={"concurrency": 4}))
        assert server.log.peak_concurrency == 4


def test_requests_keep_to_the_rate(material: Material, tmp_path: Path) -> None:
    with serve() as server:
        # The bucket holds a tenth, 120, at the start: three times the requests of this run.
        make(material, plan_for(server.base_url, tmp_path / "fast", requests_per_minute=1200))
        assert server.log.requests["chat"] == ALL
    with serve() as server:
        # It holds 20 and fills with 3 a second: the 32 take four seconds, and no second has 24.
        make(material, plan_for(server.base_url, tmp_path / "slow", requests_per_minute=200))
        assert server.log.requests["chat"] == ALL
        assert server.log.peak_requests(1.0) <= 24


# -- money ----------------------------------------------------------------------------------------


def test_the_run_stops_before_it_costs_more(material: Material, tmp_path: Path) -> None:
    price = read_price("gpt-4o-mini")
    with serve(Plan(latency_s=0.01)) as server:
        whole = make(material, plan_for(server.base_url, tmp_path / "a", max_tokens=60))
        limit = whole.cost / 2
        plan = plan_for(server.base_url, tmp_path / "b", max_tokens=60, max_cost=limit)
        before = server.log.prompt_tokens, server.log.completion_tokens
        report = make(material, plan)
        spent = price.cost(
            server.log.prompt_tokens - before[0], server.log.completion_tokens - before[1]
        )
        assert report.stopped == "the next request might pass --max-cost"
        assert not report.complete
        assert 0 < total(report, "open") < ALL
        assert 0.3 * limit < spent <= limit
        assert report.cost == pytest.approx(spent)
        # The same limit holds over runs: what was paid for these questions counts.
        make(material, plan)
        assert price.cost(
            server.log.prompt_tokens - before[0], server.log.completion_tokens - before[1]
        ) <= limit  # fmt: skip
        rest = make(material, plan_for(server.base_url, tmp_path / "b", max_tokens=60))
        assert rest.complete
        assert server.log.paid["chat"] == 2 * ALL


def test_a_budget_never_lets_more_pass_than_its_limit() -> None:
    price = read_price("gpt-4o-mini")
    budget = Budget(price, 0.01)
    spent = 0.0
    reserved = budget.reserve(1000, 500)
    while reserved is not None:
        # 1,400 tokens are within the half more that an estimate is allowed.
        budget.settle(reserved, 1000, Paid(1400, 500))
        spent += price.cost(1400, 500)
        reserved = (
            None if budget.spent + price.cost(1540, 500) > 0.01 else budget.reserve(1000, 500)
        )
    with pytest.raises(BudgetReached):
        budget.reserve(1000, 500)
    assert spent <= 0.01
    assert budget.spent == pytest.approx(spent)


def test_a_limit_needs_a_price() -> None:
    with pytest.raises(OptionError, match="--prices"):
        Budget(None, 1.0)


# -- the store ------------------------------------------------------------------------------------


def test_the_key_is_nowhere_in_what_is_written(
    material: Material,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    marked = "sk-marked-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", marked)
    plan = Plan(key=marked, by="attempt", faults=(Fault("prose", 0.2), Fault("server_error", 0.2)))
    with serve(plan) as server:
        make(material, plan_for(server.base_url, tmp_path, attempts=1))
    with serve(Plan(key="another", echo_key=True)) as server:
        ours = plan_for(server.base_url, tmp_path / "refused", server={"retries": 0})
        with pytest.raises(ServerError) as caught:
            make(material, ours)
    assert marked not in str(caught.value)
    assert "***" in str(caught.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".sqlite") for path in files)
    assert not [path for path in files if marked.encode() in path.read_bytes()]
    assert marked not in "".join(capfd.readouterr())


def test_the_store_of_another_program_is_left_alone(material: Material, tmp_path: Path) -> None:
    plan = plan_for("http://127.0.0.1:9/v1", tmp_path)
    with closing(sqlite3.connect(plan.store)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = plan.store.read_bytes()
    with pytest.raises(DataError, match="another program"):
        make(material, plan)
    assert plan.store.read_bytes() == before

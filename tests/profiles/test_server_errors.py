"""What servers say when they refuse or fail, in whatever form they say it, reaches the user."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai_server import Fault, Plan, serve

from recbole_darec.llm.client import ServerError
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.reading import failure_in

from .small_shop import make, plan_for, reasons, shop, total

FORMS = ("openai", "detail", "text", "nested", "plain")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return shop(tmp_path, n_users=3, n_items=8)


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_answers_is_adapted_in_whatever_form_it_is_refused(
    material: Material, tmp_path: Path, form: str
) -> None:
    with serve(Plan(structured="none", error_form=form)) as server:
        report = make(material, plan_for(server.base_url, tmp_path))
        assert server.log.statuses[400] == 2
    assert report.complete, reasons(report)


@pytest.mark.parametrize("form", FORMS)
def test_the_words_of_a_refusal_stand_in_the_report(
    material: Material, tmp_path: Path, form: str
) -> None:
    with serve(Plan(context_tokens=20, error_form=form)) as server:
        plan = plan_for(server.base_url, tmp_path)
        report = make(material, plan)
        again = make(material, plan)
    failed = total(report, "failed")
    assert failed > 0
    for table in (report.table(), again.table()):
        line = next(line for line in table.splitlines() if "the server refuses" in line)
        assert f": {failed} (400: " in line
        assert "maximum context length is 20 tokens" in line
        assert "the request again" not in line


def test_an_error_of_status_200_is_lost_and_costs_nothing(
    material: Material, tmp_path: Path
) -> None:
    lasting = Plan(faults=(Fault("error_body", 1.0, None),))
    with serve(lasting) as server:
        plan = plan_for(server.base_url, tmp_path, server={"retries": 0})
        with pytest.raises(ServerError, match="502: the model behind the gateway is out of memory"):
            make(material, plan)
        assert server.log.requests["chat"] == 3
    with serve() as server:
        report = make(material, plan_for(server.base_url, tmp_path))
        assert server.log.requests["chat"] == total(report, "answered")
    assert report.complete
    assert total(report, "prompt_tokens") == server.log.prompt_tokens


def test_an_error_of_status_200_that_passes_is_repeated_as_often_as_any(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_darec.profiles.interview._PAUSE", 0.01)
    with serve(Plan(by="attempt", faults=(Fault("error_body", 0.4, 4),))) as server:
        report = make(material, plan_for(server.base_url, tmp_path, server={"retries": 6}))
        assert server.log.faults["error_body"] > 3
        assert all(count == 1 for count in server.log.paid_by_prompt.values())
    assert report.complete, reasons(report)


NO_SYSTEM = [
    "Conversation roles must alternate user/assistant/user/assistant/...",
    "System role not supported",
    "Only user, assistant and tool roles are supported, got system.",
    "After the optional system message, conversation roles must alternate user/assistant",
]


@pytest.mark.parametrize("words", NO_SYSTEM)
@pytest.mark.parametrize("batch", [{}, {"batch": True, "poll_seconds": 0.02}])
def test_a_model_without_a_system_role_gets_one_message(
    material: Material, tmp_path: Path, words: str, batch: dict
) -> None:
    with serve(Plan(no_system=words)) as server:
        report = make(material, plan_for(server.base_url, tmp_path, **batch))
        again = make(material, plan_for(server.base_url, tmp_path, **batch))
        refused = server.log.statuses[400]
    assert report.complete, reasons(report)
    assert total(again, "requests") == 0
    assert refused == (0 if batch else 1)


def test_lines_of_a_batch_that_hold_an_error_are_asked_again(
    material: Material, tmp_path: Path
) -> None:
    plan = Plan(structured="none", unsupported=("reasoning_effort",))
    with serve(plan) as server:
        batch = {"batch": True, "poll_seconds": 0.02}
        report = make(material, plan_for(server.base_url, tmp_path, attempts=4, **batch))
        assert report.complete, reasons(report)
        ours = plan_for(server.base_url, tmp_path / "b", thinking="off", attempts=4, **batch)
        assert make(material, ours).complete


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"error": {"message": "m", "code": 429}}, 429, "m"),
        ({"object": "error", "message": "m", "code": 400}, 400, "m"),
        ({"choices": [], "error": "m"}, None, "m"),
        ({"choices": None, "detail": "m"}, None, "m"),
        (
            {"choices": [{"finish_reason": "error", "message": {"content": ""},
                          "error": {"code": 502, "message": "m"}}]},
            502,
            "m",
        ),
        ({"choices": [{"finish_reason": "error"}]}, None, "the model behind the server failed"),
    ],
)  # fmt: skip
def test_a_failure_in_the_place_of_an_answer(body: dict, status: int | None, told: str) -> None:
    failure = failure_in(body)
    assert failure is not None
    assert (failure.status_code, str(failure)) == (status, told)


@pytest.mark.parametrize(
    "body",
    [{"choices": []}, {"id": "1", "object": "chat.completion", "choices": []}, "text", None, [], 7,
     {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "error": None},
     {"choices": [7]}, {"choices": {"a": 1}}],
)  # fmt: skip
def test_no_failure_in_it(body: object) -> None:
    assert failure_in(body) is None

"""``--thinking``, in the form that a server takes, and what is said where it takes none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openai_server import Plan, serve

from recbole_darec.errors import OptionError
from recbole_darec.llm.client import Server, ServerError
from recbole_darec.llm.words import AnsweredError
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.plan import Generation
from recbole_darec.profiles.request_form import RequestForm

from .small_shop import make, plan_for, reasons, shop, total

OWN = Server(base_url="http://localhost:8000/v1")
FIELDS = ("reasoning_effort", "chat_template_kwargs", "enable_thinking", "thinking")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return shop(tmp_path, n_users=3, n_items=8)


def body(thinking: str | None, server: Server = OWN) -> dict[str, Any]:
    return RequestForm(Generation(model="m", thinking=thinking), server).body([])


def test_without_it_nothing_is_sent() -> None:
    assert body(None).keys() == {"model", "messages", "max_tokens", "temperature",
                                 "response_format"}  # fmt: skip


@pytest.mark.parametrize(
    ("thinking", "effort"), [("off", "none"), ("low", "low"), ("high", "high")]
)
def test_what_is_sent(thinking: str, effort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on = thinking != "off"
    sent = body(thinking)
    assert sent["reasoning_effort"] == effort
    assert sent["chat_template_kwargs"] == {"enable_thinking": on, "thinking": on}
    assert sent["enable_thinking"] is on
    assert sent["thinking"] == {"type": "enabled" if on else "disabled"}
    for server in (Server(), Server(base_url="https://api.openai.com/v1")):
        sent = body(thinking, server)
        assert [name for name in FIELDS if name in sent] == ["reasoning_effort"]
        assert "max_completion_tokens" in sent
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:11434/v1")
    assert "chat_template_kwargs" in body(thinking, Server())


def test_a_number_of_tokens() -> None:
    sent = body("200")
    assert sent["thinking_token_budget"] == sent["thinking_budget"] == 200
    assert sent["reasoning"] == {"max_tokens": 200}


@pytest.mark.parametrize(
    ("thinking", "told"),
    [("of", "did you mean 'off'"), ("none", "must be one of"), ("0", "must be one of"),
     ("-5", "must be"), ("", "must be"), ("1.5", "must be"), ("500", "no token for the answer")],
)  # fmt: skip
def test_what_is_refused(thinking: str, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        Generation(model="m", thinking=thinking)


@pytest.mark.parametrize("form", ["openai", "detail", "text", "nested", "plain"])
@pytest.mark.parametrize("unknown", [FIELDS[1:], FIELDS[:1], ()])
def test_fields_that_a_server_refuses_are_left_out(
    material: Material, tmp_path: Path, unknown: tuple[str, ...], form: str
) -> None:
    known = next(name for name in FIELDS if name not in unknown)
    with serve(Plan(unsupported=unknown, error_form=form, thinks_unless=known)) as server:
        report = make(material, plan_for(server.base_url, tmp_path, thinking="off"))
        assert report.complete, reasons(report)
        assert server.log.statuses[400] == len(unknown)
    assert total(report, "thoughts") == 0
    assert "thought" not in report.table()


def test_a_server_that_takes_none_of_the_fields_is_told_at_once(
    material: Material, tmp_path: Path
) -> None:
    with serve(Plan(unsupported=FIELDS)) as server:
        with pytest.raises(ServerError, match="does not take --thinking=off"):
            make(material, plan_for(server.base_url, tmp_path, thinking="off"))
        assert server.log.paid["chat"] == 0
        assert make(material, plan_for(server.base_url, tmp_path)).complete


def test_a_server_that_passes_over_it_is_told_in_the_report(
    material: Material, tmp_path: Path
) -> None:
    with serve(Plan(thinks_unless="another_field")) as server:
        report = make(material, plan_for(server.base_url, tmp_path, thinking="off"))
        answers = server.log.paid["chat"]
    assert report.complete
    assert total(report, "thoughts") == answers
    assert f"the model thought in {answers} of its answers all the same" in report.table()


def test_thinking_is_no_part_of_the_question(material: Material, tmp_path: Path) -> None:
    with serve() as server:
        make(material, plan_for(server.base_url, tmp_path))
        asked = server.log.requests["chat"]
        make(material, plan_for(server.base_url, tmp_path, thinking="low"))
        assert server.log.requests["chat"] == asked


REFUSALS = {
    "ollama": {"error": {"message": '"llama3" does not support thinking', "type": "api_error"}},
    "openai": {
        "message": "Unsupported value: 'reasoning_effort' does not support 'none' with this "
        "model. Supported values are: 'minimal', 'low', 'medium', and 'high'.",
        "param": "reasoning_effort",
    },
    "azure": {"error": {"message": "Unrecognized request argument supplied: reasoning_effort"}},
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("server", [OWN, Server()])
def test_a_model_that_cannot_think_so_is_told(kind: str, server: Server) -> None:
    """As these servers say it; with several fields each refusal leaves out what it names."""
    form = RequestForm(Generation(model="m", thinking="off"), server)
    error = AnsweredError(REFUSALS[kind])
    left = len([name for name in FIELDS if name in form.body([])])
    if kind != "ollama" and server is OWN:
        assert form.adapt(error, form.body([]), answered_any=False)
        assert "reasoning_effort" not in form.body([])
        return

    def refuse() -> None:
        for _ in range(left):
            form.adapt(error, form.body([]), answered_any=False)

    with pytest.raises(ServerError, match="--thinking=off"):
        refuse()


def test_fields_that_are_named_together_go_together() -> None:
    """As Azure and Gemini name them."""
    form = RequestForm(Generation(model="m", thinking="low"), OWN)
    words = (
        "Unrecognized request arguments supplied: chat_template_kwargs, enable_thinking, thinking"
    )
    assert form.adapt(AnsweredError({"error": {"message": words}}), form.body([]), False)
    assert [name for name in FIELDS if name in form.body([])] == ["reasoning_effort"]
    echo = {
        "detail": [{"loc": ["body", "x"], "msg": "no", "input": {"thinking": "response_format"}}]
    }
    assert not form.adapt(AnsweredError(echo), form.body([]), False)

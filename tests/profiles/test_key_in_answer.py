"""A server that says the key in its answers, as a debugging proxy may: it is not stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recbole_darec.profiles.files import export_answers

from .small_shop import make, plan_for, shop

KEY = "sk-marked-0123456789"


class Echo(BaseHTTPRequestHandler):
    """Answers every request with its headers, as if that were a completion."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = f"you sent {self.headers['Authorization']}"
        body = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_key_in_an_answer_is_not_kept(
    echo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    plan = plan_for(echo, tmp_path, attempts=1)
    report = make(shop(tmp_path, n_users=3), plan)
    assert not report.complete
    assert export_answers(plan.store, tmp_path / "answers.jsonl")
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"you sent Bearer ***" in content for content in written)
    assert not any(KEY.encode() in content for content in written)

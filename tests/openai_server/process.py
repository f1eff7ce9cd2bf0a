"""A server as a process of its own, so that it does not share the client's interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from .plan import Plan

__all__ = ["ServerProcess", "serve_process"]


@dataclass(frozen=True)
class ServerProcess:
    """A running server process."""

    port: int
    pid: int

    @property
    def base_url(self) -> str:
        """What a client takes as ``base_url``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def counters(self, window_s: float = 1.0) -> dict[str, Any]:
        """The counters of :meth:`.record.Log.summary`."""
        url = f"http://127.0.0.1:{self.port}/log?window={window_s}"
        # A proxy of the environment knows nothing of this machine's loopback.
        with build_opener(ProxyHandler({})).open(url, timeout=30) as answer:
            summary: dict[str, Any] = json.load(answer)
        return summary


@contextmanager
def serve_process(
    plan: Plan | None = None, log: str | Path | None = None
) -> Iterator[ServerProcess]:
    """Run ``python -m openai_server`` on a free port, until the block ends.

    Raises:
        RuntimeError: it did not start.
    """
    tests = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        plan_file = Path(folder) / "plan.json"
        plan_file.write_text((plan or Plan()).to_json(), encoding="utf-8")
        args = [sys.executable, "-m", "openai_server", "--plan", str(plan_file), "--port", "0"]
        process = subprocess.Popen(
            [*args, *([] if log is None else ["--log", str(log)])],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.strip().isdigit():
                raise RuntimeError(f"the server did not start; it said {line!r}")
            yield ServerProcess(int(line), process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait(30)
            process.stdout.close()

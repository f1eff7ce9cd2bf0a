"""A Ray cluster of this machine: a head and two nodes, any of which can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from conftest import environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def of_ray() -> dict[str, str]:
    return environment({"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"})


class Cluster:
    """A head without a core, and two nodes with one each."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes = [
            self._start(
                "--head",
                f"--port={self.address.rpartition(':')[2]}",
                "--num-cpus=0",
                "--include-dashboard=false",
                f"--temp-dir={folder}",
            )
        ]
        self.nodes += [self._start(f"--address={self.address}", "--num-cpus=1") for _ in range(2)]

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a node in the foreground, in a group of processes of its own."""
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "ray"), "start", "--block", *arguments],
            env=of_ray(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if "--head" in arguments:
            until_answers(self.address)
        return process

    def kill(self, number: int) -> None:
        """Kill a node and everything that runs on it."""
        if self.nodes[number].poll() is None:
            os.killpg(self.nodes[number].pid, signal.SIGKILL)
            self.nodes[number].wait()


def until_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return

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
    """A head without a core, and two nodes with one each.

    Args:
        folder: Ray's own, with a short path: a socket's has about a hundred characters.
    """

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._folder = folder

    def begin(self) -> None:
        """Start the nodes, one after the other: of two that come at a time one may be lost."""
        port = self.address.rpartition(":")[2]
        self._start(
            "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false",
            f"--temp-dir={self._folder}",
        )  # fmt: skip
        for _ in range(2):
            self._start(f"--address={self.address}", "--num-cpus=1")

    def _start(self, *arguments: str) -> None:
        """Start a node in the foreground, in a group of processes of its own; wait for it."""
        node = subprocess.Popen(
            [str(Path(sys.executable).parent / "ray"), "start", "--block", *arguments],
            env=of_ray(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.nodes.append(node)
        deadline = time.monotonic() + 180
        while len(list(self._folder.glob("session_latest/sockets/raylet*"))) < len(self.nodes):
            assert node.poll() is None, "a node of Ray did not start"
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def kill(self, number: int) -> None:
        """Kill a node and everything that runs on it."""
        if self.nodes[number].poll() is None:
            os.killpg(self.nodes[number].pid, signal.SIGKILL)
            self.nodes[number].wait()

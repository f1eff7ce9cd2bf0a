"""A study on a Ray cluster of two nodes of this machine, one of which is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import command, environment

from studies.test_compare import LONG, runs_in, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the ray extra"),
]


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


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # A socket's path has about a hundred characters.
    folder = Path("/tmp") / f"ray-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    made = Cluster(folder)
    yield made
    for number in range(len(made.nodes)):
        made.kill(number)


def test_a_node_is_killed_and_the_table_is_the_same_to_the_digit(
    cluster: Cluster, write_study: Callable[..., Path], tmp_path: Path
) -> None:
    tables = {}
    for name in ("here", "ray"):
        study = write_study(name=name, aligners=["none", "rlmrec_con"], variants=None, common=LONG)
        study = study.rename(tmp_path / f"{name}.yaml")
        more = [f"--ray-address={cluster.address}"] if name == "ray" else ["--jobs=2"]
        driver = subprocess.Popen(
            command(["compare", study.name, "--form=csv", *more]),
            cwd=tmp_path,
            env=of_ray(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if name == "ray":
            until(tmp_path, lambda: list(tmp_path.glob("studies/ray/runs/*/*.resume")))
            cluster.kill(2)
        text, errors = driver.communicate(timeout=600)
        assert driver.returncode == 0, errors
        lines = [line.split(",") for line in text.splitlines()]
        seconds = lines[0].index("seconds")
        tables[name] = [line[1:seconds] + line[seconds + 1 :] for line in lines]
    assert tables["here"] == tables["ray"]
    assert {state for state, _ in runs_in(tmp_path, "ray").values()} == {"done"}

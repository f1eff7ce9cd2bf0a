from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import command, environment

from recbole_darec.testing import TinyDataset, write_tiny


@dataclass(frozen=True)
class Interrupted:
    """A training run that got Ctrl-C after some epochs.

    Attributes:
        folder: where it was started.
        returncode, stdout, stderr: how it ended.
        checkpoint: the best model that it kept.
        snapshot: the ``.resume`` file that it kept.
    """

    folder: Path
    returncode: int
    stdout: str
    stderr: str
    checkpoint: Path
    snapshot: Path


def write_quick(data_path: Path) -> TinyDataset:
    """The tiny data set whose own property file makes a run of one quick epoch."""
    tiny = write_tiny(data_path)
    options = [option[2:].replace("=", ": ") for option in tiny.quick[2:]]
    with (tiny.folder / "tiny.yaml").open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in options))
    return tiny


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """A run of DaRec-LightGCN on the tiny data set that got SIGINT once it had a snapshot."""
    folder = tmp_path_factory.mktemp("interrupted")
    tiny = write_quick(folder / "dataset")
    saved = folder / "saved"
    process = subprocess.Popen(
        command([*tiny.quick[:2], "--epochs=100000", "--stopping_step=100000"]),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if list(saved.glob("*.resume")) and list(saved.glob("*.pth")):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    kept = [*saved.glob("*.pth"), *saved.glob("*.resume")]
    assert [path.suffix for path in kept] == [".pth", ".resume"], stderr
    return Interrupted(folder, process.returncode, stdout, stderr, *kept)

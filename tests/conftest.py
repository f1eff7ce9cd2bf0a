"""What several test modules share: a tiny data set, and the command line run as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The first call of a PyTorch operation loads libraries, which takes longer than any deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell lets what it runs in the background ignore Ctrl-C; every process started here would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = REPOSITORY / "run_recbole_darec.py"

N_USERS, N_ITEMS, WIDTH = 60, 40, 16

TINY_YAML = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
load_col:
  inter: [user_id, item_id]
benchmark_filename: [train, valid, test]
"""


@dataclass(frozen=True)
class TinyDataset:
    """A planted data set called ``tiny``: 60 users and 40 items in two blocks.

    Attributes:
        data_path: the folder for ``--data_path``.
        folder: ``data_path / "tiny"``, with the atomic files and the profile embeddings.
        quick: options of a run of one epoch that takes a moment.
    """

    data_path: Path
    folder: Path
    quick: tuple[str, ...] = (
        "--model=LightGCN",
        "--dataset=tiny",
        "--epochs=1",
        "--embedding_size=8",
        "--n_layers=1",
        "--train_batch_size=256",
        "--align_width=8",
        "--align_mlp_hidden=[8]",
        "--align_sample=64",
        "--show_progress=False",
    )


def write_tiny(data_path: Path) -> TinyDataset:
    """Write the tiny data set under ``data_path``: the same bytes each time.

    A user likes the items of the own block; 6 of them are in training, 2 in validation, 2 in the
    test part. The profile embeddings say the block, in noise.
    """
    rng = np.random.RandomState(5)
    folder = data_path / "tiny"
    folder.mkdir(parents=True)
    lines: dict[str, list[str]] = {part: [] for part in ("train", "valid", "test")}
    for user in range(N_USERS):
        own = np.arange(user % 2, N_ITEMS, 2)
        # One item is fixed, so that each item is in training; the others are drawn.
        fixed = own[(user // 2) % len(own)]
        chosen = [fixed, *rng.choice(own[own != fixed], 9, replace=False)]
        for part, items in (("train", chosen[:6]), ("valid", chosen[6:8]), ("test", chosen[8:])):
            lines[part] += [f"u{user}\ti{item}\n" for item in items]
    for part, rows in lines.items():
        (folder / f"tiny.{part}.inter").write_text(
            "user_id:token\titem_id:token\n" + "".join(rows), encoding="utf-8"
        )
    (folder / "tiny.yaml").write_text(TINY_YAML, encoding="utf-8")
    block = rng.standard_normal((2, WIDTH))
    for kind, letter, count in (("user", "u", N_USERS), ("item", "i", N_ITEMS)):
        rows = block[np.arange(count) % 2] + 0.3 * rng.standard_normal((count, WIDTH))
        np.save(folder / f"tiny.{kind}emb.npy", rows.astype(np.float16))
        (folder / f"tiny.{kind}emb.tokens").write_text(
            "".join(f"{letter}{n}\n" for n in range(count)), encoding="utf-8"
        )
    return TinyDataset(data_path, folder)


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> TinyDataset:
    """The tiny data set in ``tmp_path/dataset``, where a run in ``tmp_path`` looks for it."""
    return write_tiny(tmp_path / "dataset")


@pytest.fixture(scope="session")
def make_tiny() -> Callable[[Path], TinyDataset]:
    """:func:`write_tiny`, for fixtures of a wider scope."""
    return write_tiny


def command(args: Sequence[str], *, script: bool = False) -> list[str]:
    """The command line of ``recbole-darec ARGS``, or of ``run_recbole_darec.py ARGS``."""
    start = [str(SCRIPT)] if script else ["-m", "recbole_darec"]
    return [sys.executable, *start, *map(str, args)]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of such a process: this working tree's package, one thread."""
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(env or {})}


RunCli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """``run_cli(args, cwd, env=None, script=False, timeout=300)``: one finished process."""

    def run(
        args: Sequence[str],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        *,
        script: bool = False,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(args, script=script),
            cwd=cwd,
            env=environment(env),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder.name}/ beside the repository")
    return folder

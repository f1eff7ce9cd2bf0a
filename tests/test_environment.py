"""A wrong environment is told in one line, with the command that mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, SCRIPT, environment

from recbole_darec.environment import recbole_dir

TRAIN = ("train", "--model=LightGCN", "--dataset=ml-100k", "--epochs=1")
INSTALL = "pip install --no-deps recbole==1.2.1" if sys.version_info >= (3, 12) else (
    "pip install recbole==1.2.1"
)  # fmt: skip


def shadowed(folder: Path, package: str, files: dict[str, str]) -> dict[str, str]:
    """Write a package that stands before the installed one on the path; return the environment."""
    for name, text in files.items():
        path = folder / "shadow" / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return environment({"PYTHONPATH": os.pathsep.join([str(folder / "shadow"), str(REPOSITORY)])})


def answer(env: dict[str, str], folder: Path, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "recbole_darec", *(args or TRAIN)],
        cwd=folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert [path.name for path in folder.iterdir() if path.name != "shadow"] == []
    return line.removeprefix("error: ")


def test_recbole_is_missing(tmp_path: Path) -> None:
    env = shadowed(tmp_path, "hidden", {"__init__.py": ""})
    code = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'recbole':\n"
        "            raise ModuleNotFoundError(name=name)\n"
    )
    # As where it is not installed: the interpreter's own hook runs before anything else.
    (tmp_path / "shadow" / "sitecustomize.py").write_text(
        code.replace("raise ModuleNotFoundError(name=name)", "return None")
        + "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, package=None: (\n"
        "    None if name == 'recbole' else found(name, package))\n"
    )
    assert answer(env, tmp_path) == f"RecBole is not installed: {INSTALL}"


def test_recbole_is_of_another_version(tmp_path: Path) -> None:
    env = shadowed(tmp_path, "recbole", {"__init__.py": '__version__ = "v1.1.1"\n'})
    assert answer(env, tmp_path) == (
        f"RecBole 1.1.1 is installed, and this package works with 1.2.1: {INSTALL}"
    )


def test_recbole_is_broken(tmp_path: Path) -> None:
    copy = tmp_path / "shadow" / "recbole"
    shutil.copytree(recbole_dir(), copy)
    (copy / "config" / "__init__.py").write_text("raise AttributeError('numpy has no nonsense')\n")
    env = shadowed(tmp_path, "hidden", {"__init__.py": ""})
    line = answer(env, tmp_path)
    assert line.startswith("RecBole cannot be imported (AttributeError: numpy has no nonsense)")
    assert "pip install -c constraints.txt" in line


def test_what_recbole_needs_is_missing(tmp_path: Path) -> None:
    env = shadowed(tmp_path, "colorlog", {"__init__.py": (
        "raise ModuleNotFoundError(\"No module named 'colorlog'\", name='colorlog')\n"
    )})  # fmt: skip
    assert answer(env, tmp_path) == (
        "RecBole needs the package 'colorlog', which is not installed: pip install colorlog==4.7.2"
    )


def test_a_broken_ray_is_no_matter_to_a_run(tmp_path: Path) -> None:
    env = shadowed(tmp_path, "ray", {"__init__.py": "raise ImportError('a broken ray')\n"})
    code = "import recbole_darec.run, recbole_darec.loaded, sys; assert 'ray' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


def old_python() -> str | None:
    """A Python before 3.10 that runs, if there is one."""
    home = Path.home() / ".pyenv" / "versions"
    places = [*map(str, sorted(home.glob("3.[789].*/bin/python"))), "python3.9", "python3.8"]
    for place in places:
        found = shutil.which(place)
        code = "import sys; sys.exit(not (3, 7) <= sys.version_info[:2] < (3, 10))"
        if found and subprocess.run([found, "-c", code], check=False).returncode == 0:
            return found
    return None


def test_an_old_python_is_told_in_one_line() -> None:
    python = old_python()
    if python is None:
        pytest.skip("no Python before 3.10 here")
    done = subprocess.run([python, str(SCRIPT), "--model=LightGCN"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "recbole_darec needs 3.10 or newer: make run PYTHON=python3.12" in line

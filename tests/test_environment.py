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
    assert line.startswith(
        "RecBole cannot be imported (AttributeError: numpy has no nonsense): "
        "pip install --force-reinstall --no-deps recbole==1.2.1 'numpy>="
    )


def test_a_file_of_recbole_is_missing(tmp_path: Path) -> None:
    copy = tmp_path / "shadow" / "recbole"
    shutil.copytree(recbole_dir(), copy)
    (copy / "data" / "interaction.py").unlink()
    line = answer(shadowed(tmp_path, "hidden", {"__init__.py": ""}), tmp_path)
    assert line.startswith(
        "RecBole cannot be imported (ModuleNotFoundError: No module named "
        "'recbole.data.interaction'): pip install --force-reinstall --no-deps recbole==1.2.1 "
    )


def test_a_module_whose_package_is_called_otherwise_is_not_named_as_one(tmp_path: Path) -> None:
    env = shadowed(tmp_path, "colorlog", {"__init__.py": (
        "raise ModuleNotFoundError(\"No module named 'google'\", name='google')\n"
    )})  # fmt: skip
    line = answer(env, tmp_path)
    assert "pip install google" not in line
    assert " protobuf" in line.partition("pip install --force-reinstall --no-deps ")[2]


@pytest.mark.parametrize("package", ["numpy", "torch"])
@pytest.mark.parametrize("kind", ["ImportError", "OSError"])
def test_what_everything_stands_on_is_broken(package: str, kind: str, tmp_path: Path) -> None:
    env = shadowed(tmp_path, package, {"__init__.py": f"raise {kind}('libfoo.so: no such file')\n"})
    assert answer(env, tmp_path) == (
        f"'{package}' cannot be imported ({kind}: libfoo.so: no such file): "
        f"pip install --force-reinstall --no-deps {package}"
    )


def test_torch_is_missing(tmp_path: Path) -> None:
    text = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    env = shadowed(tmp_path, "torch", {"__init__.py": text})
    assert answer(env, tmp_path) == "'torch' is not installed: pip install torch"


def test_numpy_is_too_old(tmp_path: Path) -> None:
    env = shadowed(tmp_path, "hidden", {"__init__.py": ""})
    (tmp_path / "shadow" / "sitecustomize.py").write_text(
        "import numpy\nnumpy.__version__ = '1.21.6'\n"
    )
    wanted = "numpy>=2" if sys.version_info >= (3, 12) else "numpy>=1.22,<2"
    assert answer(env, tmp_path) == f"NumPy 1.21.6 is too old: pip install '{wanted}'"


def test_from_python_it_is_a_user_error(tmp_path: Path) -> None:
    env = shadowed(tmp_path, "recbole", {"__init__.py": '__version__ = "v1.1.1"\n'})
    code = (
        "import recbole_darec\n"
        "try:\n"
        "    from recbole_darec import run_recbole_darec\n"
        "except recbole_darec.UserError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert done.stdout.startswith("EnvironmentFault RecBole 1.1.1 is installed")


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


@pytest.mark.parametrize("start", [(str(SCRIPT),), ("-m", "recbole_darec", "train")])
def test_an_old_python_is_told_in_one_line(start: tuple[str, ...]) -> None:
    python = old_python()
    if python is None:
        pytest.skip("no Python before 3.10 here")
    done = subprocess.run([python, *start, "--model=LightGCN"], cwd=REPOSITORY,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "recbole_darec needs 3.10 or newer: make run PYTHON=python3.12" in line


def test_an_old_python_that_imports_the_package_goes_on(tmp_path: Path) -> None:
    python = old_python()
    if python is None:
        pytest.skip("no Python before 3.10 here")
    code = "try:\n    import recbole_darec\nexcept ImportError as error:\n    print(error)\n"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, env=environment(),
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("and recbole_darec needs 3.10 or newer")

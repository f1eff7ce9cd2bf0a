"""What a wheel carries, and that it is found when there is no checkout beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recbole_darec import __version__

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ("recbole_darec", "properties", "atomic_data", "setup.py", "pyproject.toml", "README.md",
           "LICENSE")  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the working tree, built where nothing else is."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache")
    for name in SOURCES:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=ignore)
        else:
            shutil.copy(path, source / name)
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "--no-index", "-w", str(out), str(source)],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    return next(out.glob("recbole_darec-*.whl"))


def test_version_changelog_and_later_options_agree() -> None:
    """CONTRIBUTING's "Releases" says how: the version is the last one with a date."""
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[(\d+\.\d+)\.\d+\] - (.+)$", changelog, re.M)
    made = [version for version, date in headings if date == "unreleased"]
    released = [version for version, date in headings if date != "unreleased"]
    assert headings[: len(made)] == [(version, "unreleased") for version in made]
    assert len(made) <= 1
    project = re.search(r'^version = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text(), re.M)
    assert project is not None
    assert project[1] == __version__
    assert __version__.startswith(f"{released[0]}.")
    later = [
        since
        for path in sorted((REPOSITORY / "recbole_darec").rglob("*.py"))
        for since in re.findall(r'since="(.+?)"', path.read_text("utf-8"))
    ]
    assert later
    # Of the first version no option is a later one.
    assert set(later) <= {*made, *released[:-1]}


def test_a_wheel_carries_the_property_files_and_the_sample(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("properties", "atomic_data"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"recbole_darec/{folder}/{path.relative_to(REPOSITORY / folder)}" in names
    assert {"recbole_darec/py.typed", "recbole_darec/testing/__init__.py"} <= names


def test_an_installed_package_finds_its_files_and_its_command(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(target)
    code = (
        "import json, recbole_darec, sys\n"
        "from recbole_darec.resources import atomic_data_dir, properties_dir\n"
        "from recbole_darec.resolve import resolve\n"
        "settings = resolve('LightGCN', 'ml-100k')\n"
        "print(json.dumps([recbole_darec.__file__, str(properties_dir()), str(atomic_data_dir()),"
        " settings.values['split_seed']]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    )
    package, properties, sample, split_seed = json.loads(done.stdout)
    assert Path(package).is_relative_to(target)
    assert Path(properties) == target / "recbole_darec" / "properties"
    assert Path(sample) == target / "recbole_darec" / "atomic_data"
    assert (Path(sample) / "ml-100k" / "ml-100k.itememb.npy").is_file()
    assert split_seed == 2020
    scripts = next(target.glob("recbole_darec-*.dist-info")) / "entry_points.txt"
    assert "recbole-darec = recbole_darec.cli:main" in scripts.read_text()

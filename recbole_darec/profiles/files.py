"""What a run leaves behind: the profile files with a note, and the answers as JSON lines."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_darec.data.atomic import write_profiles
from recbole_darec.data.files import replacing
from recbole_darec.data.store import open_store
from recbole_darec.errors import DataError, OptionError
from recbole_darec.profiles.answers import SCHEMA, Answers
from recbole_darec.profiles.inputs import Material
from recbole_darec.profiles.report import ProfileReport

__all__ = ["export_answers", "write_profile_files"]


def write_profile_files(
    folder: Path, material: Material, report: ProfileReport, about: Mapping[str, Any]
) -> list[Path]:
    """Write ``NAME.itemprofile.jsonl``, ``NAME.userprofile.jsonl`` and ``NAME.profile.json``.

    The last says how they were made, with the split, which ``recbole-darec embed`` passes on and
    training checks.

    Raises:
        DataError: there is no profile to write.
    """
    if not any(report.texts.values()):
        raise DataError("there is no profile to write: no question has a usable answer")
    folder.mkdir(parents=True, exist_ok=True)
    note = {
        **about,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "split": material.split and material.split.note(),
        "train_sha256": material.train_sha256,
        "profiles": {kind: len(texts) for kind, texts in report.texts.items()},
    }
    paths = []
    for kind, texts in report.texts.items():
        if texts:
            paths.append(
                write_profiles(folder, material.dataset, kind, list(texts), list(texts.values()))
            )
    path = folder / f"{material.dataset}.profile.json"
    with replacing(path) as file:
        file.write(json.dumps(note, indent=1, ensure_ascii=False).encode("utf-8") + b"\n")
    return [*paths, path]


def export_answers(store: Path, out: Path) -> int:
    """Write every answer of a store as JSON lines, failures with their raw text; returns how many.

    Raises:
        DataError: there is no store, or it has no answers.
    """
    if not store.is_file():
        raise DataError(f"there is no store {store}: run 'recbole-darec profile' first")
    count = 0
    with open_store(store, SCHEMA) as connection:
        answers = Answers(connection).all()
        first = next(answers, None)
        if first is None:
            raise DataError(f"the store {store} has no answers yet")
        try:
            with replacing(out) as file:
                for row in itertools.chain([first], answers):
                    file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
                    count += 1
        except OSError as error:
            raise OptionError(f"{out} cannot be written: {error.strerror or error}") from None
    return count

"""What a tuning leaves: RecBole's output and display file, and the best setting as a yaml."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recbole_darec import __version__
from recbole_darec.data.files import replacing
from recbole_darec.errors import OptionError
from recbole_darec.studies.outcome import Outcome, read_outcome

__all__ = [
    "TrialDone",
    "best_file",
    "mark_finished",
    "trials_folder",
    "words",
    "write_best",
    "write_display",
    "write_output",
]

_OURS = ".tuning"  # nothing but a folder of a tuning is ever emptied
_FINISHED = "finished"


@dataclass(frozen=True)
class TrialDone:
    """A trial that has ended.

    Attributes:
        setting: its options.
        outcome: what came of it.
        score: the validation metric; None where it failed.
        stopped: the epochs after which it was stopped as one of the weaker; None where it was not.
    """

    setting: Mapping[str, Any]
    outcome: Outcome
    score: float | None
    stopped: int | None = None


def words(setting: Mapping[str, Any]) -> str:
    """Return a setting as RecBole's output file has it."""
    return ", ".join(f"{name}:{value}" for name, value in setting.items())


def best_file(output: Path) -> Path:
    """Return where the best setting goes: beside the output file."""
    return output.with_suffix(".best.yaml")


def trials_folder(output: Path, *, resume: bool) -> Path:
    """Return the folder in which the trials work, emptied unless the tuning goes on.

    Raises:
        OptionError: an earlier tuning was cut off, and nothing was said about it; the folder is
            none of a tuning.
    """
    folder = output.with_suffix(".trials").absolute()
    finished = folder / _FINISHED
    if folder.is_dir() and not (folder / _OURS).is_file() and any(folder.iterdir()):
        raise OptionError(
            f"the folder '{folder}' is to hold the trials, and holds something else: name another "
            "--output_file"
        )
    if folder.is_dir() and not resume:
        done = sum(read_outcome(one) is not None for one in folder.iterdir() if one.is_dir())
        if not finished.is_file() and done:
            raise OptionError(
                f"'{folder}' has {done} trials of a tuning that was cut off: go on with --resume, "
                "or name another --output_file, or remove the folder"
            )
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _OURS).touch()
    except OSError as error:
        raise OptionError(
            f"the folder '{folder}' of the trials cannot be made: {error.strerror or error}"
        ) from None
    finished.unlink(missing_ok=True)
    return folder


def write_output(path: Path, trials: Sequence[TrialDone]) -> None:
    """Write every trial with its metrics, in RecBole's form."""
    lines = []
    for trial in trials:
        valid, test = trial.outcome.valid, trial.outcome.test
        lines.append(words(trial.setting))
        if trial.outcome.state == "failed":
            lines.append(f"Failed:\n{trial.outcome.reason}\n")
            continue
        lines.append(f"Valid result:\n{_metrics(valid)}")
        early = f"stopped after {trial.stopped} epochs"
        lines.append(f"Test result:\n{_metrics(test) if trial.stopped is None else early}\n")
    with replacing(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def _metrics(values: Mapping[str, float]) -> str:
    return "    ".join(f"{name} : {value}" for name, value in values.items())


def write_best(path: Path, content: Mapping[str, Any], said: str) -> None:
    """Write a configuration that ``--config_files`` takes as it is.

    Args:
        path: the yaml.
        content: every option that was given, and what was chosen.
        said: about the trial, one line.
    """
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    with replacing(path) as file:
        file.write(f"# {said}; recbole_darec {__version__}\n{text}".encode())


def write_display(path: Path, trials: Sequence[TrialDone], metric: str) -> None:
    """Write a page with the trials' scores, as RecBole's: one point a trial, its setting on it."""
    import plotly.graph_objects as go

    scores = [trial.score for trial in trials]
    figure = go.Figure(
        go.Scatter(
            x=list(range(1, len(trials) + 1)),
            y=scores,
            text=[words(trial.setting) for trial in trials],
            mode="lines+markers",
        )
    )
    figure.update_layout(title="Tuning", xaxis_title="trial", yaxis_title=f"validation {metric}")
    with replacing(path) as file:
        file.write(figure.to_html(include_plotlyjs=True, full_html=True).encode())


def mark_finished(folder: Path) -> None:
    """Note that a tuning has come to its end; remove the models of trials that were stopped."""
    for one in folder.glob("*/*"):
        if one.suffix in (".pth", ".resume"):
            one.unlink()
    (folder / _FINISHED).touch()

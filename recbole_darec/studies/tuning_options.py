"""The options of ``recbole-darec tune``, under the names of RecBole's ``run_hyper.py``."""

from __future__ import annotations

from pathlib import Path

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import CommandOptions, option

__all__ = ["TuningOptions"]


class TuningOptions(CommandOptions):
    """What is searched, how, and where to."""

    params_file: str = option(
        ...,
        "What is chosen from, in RecBole's format, one 'option kind range' a line; a file, or the "
        "name of a bundled one, such as darec.",
        flag="params_file",
        metavar="FILE",
    )
    output_file: Path = option(
        Path("hyper_example.result"),
        "Every trial with its metrics, as RecBole writes it; the best one goes into a yaml beside "
        "it.",
        flag="output_file",
    )
    display_file: Path | None = option(
        None, "HTML page with the trials' scores.", flag="display_file"
    )
    max_evals: int | None = option(
        None,
        "Trials at most; without it all combinations, or 100 where a range has no end of them.",
        flag="max_evals",
        metavar="N",
        low=1,
    )
    early_stop: int = option(
        10, "Trials in a row without a better one, after which the search ends.",
        flag="early_stop", low=1,
    )  # fmt: skip
    tool: str = option(
        "Hyperopt",
        "Who runs the trials: one after another here, or several at a time on Ray, which ends the "
        "weaker ones early.",
        choices=("Hyperopt", "Ray"),
    )
    ray_address: str | None = option(
        None,
        "Cluster for --tool=Ray, such as host:6379; without it Ray is started on this machine.",
        flag="ray_address",
        metavar="ADDRESS",
    )
    resume: bool = option(False, "Go on with a tuning that was cut off.")

    def check_together(self) -> None:
        """Refuse a cluster without Ray, and files that cannot be written."""
        if self.ray_address is not None and self.tool != "Ray":
            raise OptionError("--ray_address goes with --tool=Ray")
        for name in ("output_file", "display_file"):
            path = getattr(self, name)
            if path is not None and not path.parent.is_dir():
                raise OptionError(f"--{name}={path}: there is no folder '{path.parent}'")
            if path is not None and path.is_dir():
                raise OptionError(f"--{name}={path} is a folder: name a file in it")

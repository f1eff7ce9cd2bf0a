"""The options of ``recbole-darec compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import CommandOptions, option

if TYPE_CHECKING:
    from recbole_darec.studies.study import Study

__all__ = ["CompareOptions"]


class CompareOptions(CommandOptions):
    """How a study is run and shown."""

    jobs: int | None = option(
        None,
        "Runs at a time, each in a process of its own (default: 1 on this machine, on a Ray "
        "cluster all that it has room for).",
        low=1,
    )
    ray_address: str | None = option(
        None,
        "Ray cluster that runs the study, such as 10.0.0.1:6379 or auto; its nodes find data and "
        "the store's folder where this machine does.",
        metavar="ADDRESS",
    )
    store: Path | None = option(
        None, "File of the results (default: studies/<name>/results.sqlite)."
    )
    take_from: tuple[Path, ...] | None = option(
        None,
        "Other stores of the study, such as another machine's, whose finished runs are put into "
        "this one first.",
        metavar="FILE,...",
    )
    table: bool = option(False, "Make the table from what there is, and run nothing.")
    form: str | None = option(
        None,
        "Form of the table (default: that of --out's ending, else markdown).",
        choices=("markdown", "csv", "latex"),
    )
    out: Path | None = option(
        None, "Write the table into this file, .md, .csv or .tex, instead of printing it."
    )
    metric: tuple[str, ...] | None = option(
        None, "Test metrics of the table, instead of the study's.", metavar="METRIC,..."
    )
    per_user: bool = option(False, "Test over users, not over seeds.")
    figures: bool = option(
        False, "Draw the figures from what there is, as PNG and SVG beside the store; run nothing."
    )
    html: Path | None = option(
        None, "Write one page with table, figures, configuration and versions; run nothing."
    )
    retry_failed: bool = option(False, "Do runs again that failed.")
    other_version: str = option(
        "error",
        "What results of another version of this package are: an error, results (reuse), or none "
        "(again).",
        choices=("error", "reuse", "again"),
    )

    def check_together(self) -> None:
        """Refuse options of a run beside --table, and a file whose form is not known."""
        if self.only_shows and self.retry_failed:
            flag = "--table" if self.table else "--figures" if self.figures else "--html"
            raise OptionError(f"--retry-failed runs something, and {flag} nothing: give one")
        for name in ("html", "out"):
            path = getattr(self, name)
            if path is not None and path.is_dir():
                raise OptionError(f"--{name}={path} is a folder: name a file in it")
        if self.out is not None and self.form is None and self.form_of_out is None:
            raise OptionError(f"--out={self.out}: end it in .md, .csv or .tex, or give --form")

    @property
    def only_shows(self) -> bool:
        """Whether nothing is run."""
        return self.table or self.figures or self.html is not None

    def metrics_of(self, study: Study) -> list[str]:
        """Return the test metrics that are shown of a study, in lower case."""
        return [metric.lower() for metric in self.metric or study.options.report]

    @property
    def form_of_out(self) -> str | None:
        """The form that the file's ending means."""
        forms = {".md": "markdown", ".csv": "csv", ".tex": "latex"}
        return None if self.out is None else forms.get(self.out.suffix.lower())

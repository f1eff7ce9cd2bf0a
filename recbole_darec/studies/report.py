"""A study on one page that opens from disk: table, figures, configuration and versions."""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import io
import math
import platform
from pathlib import Path
from typing import Any

import yaml

from recbole_darec import __version__
from recbole_darec.data.files import replacing
from recbole_darec.errors import MissingExtraError
from recbole_darec.resources import properties_dir
from recbole_darec.studies.command_options import CompareOptions
from recbole_darec.studies.comparison import Against, Comparison, Line, compared
from recbole_darec.studies.drawing import save
from recbole_darec.studies.figures import figures_of, write_figures
from recbole_darec.studies.frame import Results, stored_results
from recbole_darec.studies.study import Study
from recbole_darec.studies.tables import sources_of

__all__ = ["drawn", "page"]

_PACKAGES = (
    "recbole", "torch", "numpy", "scipy", "pandas", "scikit-learn", "ray", "hyperopt", "matplotlib",
)  # fmt: skip


def drawn(study: Study, path: Path, options: CompareOptions) -> list[str]:
    """Draw a study's figures and write its page, as asked for; return what is where, line by line.

    Args:
        study: the study.
        path: of its store.
        options: of the command.

    Raises:
        UserError: there is nothing to show, or an extra is missing.
    """
    lines = []
    metrics = options.metrics_of(study)
    with stored_results(study, path, other_version=options.other_version) as results:
        if options.figures:
            folder = path.parent / "figures"
            files = write_figures(results, metrics[0], folder)
            lines.append(f"{len(files)} files of figures in {folder}")
        if options.html is not None:
            text = page(results, metrics, per_user=options.per_user)
            options.html.parent.mkdir(parents=True, exist_ok=True)
            with replacing(options.html) as file:
                file.write(text.encode())
            lines.append(f"page in {options.html}")
    return lines


def page(results: Results, metrics: list[str], *, per_user: bool = False) -> str:
    """Return the page, which needs nothing beside itself.

    Args:
        results: of the study.
        metrics: test metrics of the table; the figures are of the first.
        per_user: whether the tests pair users, not seeds.

    Raises:
        DataError: nothing is done yet, or a metric was not computed.
        MissingExtraError: Jinja2 or matplotlib is not installed.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise MissingExtraError("jinja2", "report")
    import jinja2

    table = compared(results, metrics, per_user=per_user)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(properties_dir() / "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        name=table.name,
        question=table.question,
        n_done=table.n_done,
        n_runs=table.n_runs,
        unit=table.unit,
        base=table.base,
        header=_header(table),
        rows=[_cells(line) for line in table.lines],
        figures=[_embedded(name, figure) for name, figure in figures_of(results, metrics[0])],
        sources=sources_of(table),
        failed=table.failed,
        command=f"recbole-darec compare {table.name}",
        study=yaml.safe_dump(results.study.options.model_dump(), sort_keys=False),
        configurations=_configurations(results),
        versions=_versions(),
    )


def _header(table: Comparison) -> list[str]:
    found = ["data set", "backbone", "method", "setting", "seeds"]
    for metric in table.metrics:
        found += [metric, f"gain over {table.base}", "gain over rival", "rival", "reported"]
    return [*found, "seconds an epoch", "seconds a run"]


def _cells(line: Line) -> list[dict[str, Any]]:
    setting = line.setting or ", ".join(f"{k}={v:.3g}" for k, v in line.chosen.items())
    found = [_text(line.dataset), _text(line.backbone), _text(line.method), _text(setting)]
    found.append(_number(line.n_seeds, f"{line.n_seeds} of {line.n_wanted}"))
    for cell in line.cells:
        deviation = "" if math.isnan(cell.deviation) else f" ± {cell.deviation:.4f}"
        found.append(_number(cell.mean, f"{cell.mean:.4f}{deviation}"))
        found += [_gain(cell.base), _gain(cell.rival)]
        found.append(_text("" if cell.rival is None else cell.rival.other))
        reported = cell.reported
        found.append(
            _text("") if reported is None else _number(reported.value, str(reported.value))
        )
    for seconds, shown in ((line.epoch_seconds, 3), (line.seconds, 1)):
        found.append(_text("") if math.isnan(seconds) else _number(seconds, f"{seconds:.{shown}f}"))
    return found


def _gain(against: Against | None) -> dict[str, Any]:
    if against is None:
        return _text("")
    p = against.t_corrected
    told = "" if math.isnan(p) else f" (p {p:.3f}){'†' if against.significant else ''}"
    return _number(against.gain, f"{100 * against.gain:+.2f} %{told}")


def _text(text: str) -> dict[str, Any]:
    return {"text": text, "value": text, "number": False}


def _number(value: float, text: str) -> dict[str, Any]:
    return {"text": text, "value": repr(float(value)), "number": True}


def _embedded(name: str, figure: Any) -> dict[str, Any]:
    file = io.BytesIO()
    save(figure, file, "png")
    content = file.getvalue()
    # Width and height stand in a PNG's first chunk; with them the page does not jump.
    width, height = (int.from_bytes(content[n : n + 4], "big") for n in (16, 20))
    data = base64.b64encode(content).decode()
    return {"name": name.replace("_", " "), "data": data, "width": width, "height": height}


def _configurations(results: Results) -> list[tuple[str, str]]:
    """Return the options of one run of each method, without the paths of this machine."""
    found = []
    firsts = results.done.drop_duplicates(["dataset", "backbone", "method"])
    for row in firsts.itertuples():
        options = {
            name: value
            for name, value in sorted(row.options.items())
            if value is not None and not (isinstance(value, str) and value.startswith("/"))
        }
        title = f"{row.dataset}, {row.backbone}, {row.method}"
        found.append((title, yaml.safe_dump(options, sort_keys=False)))
    return found


def _versions() -> str:
    lines = [f"recbole_darec {__version__}", f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join(lines)

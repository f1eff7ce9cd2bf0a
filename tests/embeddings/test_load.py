from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_darec.embeddings import EmbeddingOptions, load_embeddings, write_binary, write_text
from recbole_darec.embeddings.controls import apply_control
from recbole_darec.errors import EmbeddingError, OptionError

USERS = ["[PAD]", *(f"u{i}" for i in range(6))]
ITEMS = ["[PAD]", *(f"i{i}" for i in range(9))]


def rows(n: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_text(tmp_path / "toy.useremb", USERS[1:], rows(6), "uid", "user_emb")
    write_binary(tmp_path / "toy.itememb", ITEMS[1:], rows(9, seed=1), {"encoder": "some"})
    return tmp_path


def test_both_sides(folder: Path) -> None:
    got = load_embeddings([folder], "toy", USERS, ITEMS, EmbeddingOptions(expected_width=4))
    assert got.users is not None
    assert got.items is not None
    np.testing.assert_array_equal(got.users, np.vstack([np.zeros((1, 4)), rows(6)]))
    np.testing.assert_array_equal(got.items, np.vstack([np.zeros((1, 4)), rows(9, seed=1)]))
    assert got.width == 4
    assert [c.kind for c in got.coverage] == ["user", "item"]
    assert got.meta["item"] == {"encoder": "some", "file": str(folder / "toy.itememb.npy")}


def test_one_side_only(folder: Path) -> None:
    (folder / "toy.useremb").unlink()
    got = load_embeddings([folder], "toy", None, ITEMS, EmbeddingOptions())
    assert got.users is None
    assert got.items is not None
    assert len(got.coverage) == 1
    with pytest.raises(ValueError, match="neither"):
        load_embeddings([folder], "toy", None, None, EmbeddingOptions())


def test_first_folder_that_has_the_file_counts_for_each_side(folder: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    write_binary(first / "toy.useremb", USERS[1:], rows(6, seed=9))
    got = load_embeddings([first, folder], "toy", USERS, ITEMS, EmbeddingOptions())
    assert got.users is not None
    np.testing.assert_array_equal(got.users[1:], rows(6, seed=9))
    assert got.meta["item"]["file"] == str(folder / "toy.itememb.npy")


def test_named_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_binary(folder / "mine", USERS[1:], rows(6, seed=5))
    for name in ("mine", "mine.npy", str(folder / "mine.npy")):
        got = load_embeddings([folder], "toy", USERS, None, EmbeddingOptions(user_file=name))
        assert got.users is not None
        np.testing.assert_array_equal(got.users[1:], rows(6, seed=5))
    monkeypatch.chdir(folder)
    load_embeddings([], "toy", USERS, None, EmbeddingOptions(user_file="mine"))


def test_nothing_found_lists_the_places(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError) as error:
        load_embeddings([tmp_path / "a", tmp_path / "b"], "toy", USERS, ITEMS, EmbeddingOptions())
    message = str(error.value)
    assert f"{tmp_path}/a/toy.useremb[.npy], {tmp_path}/b/toy.useremb[.npy]" in message
    assert "--align=none" in message
    with pytest.raises(EmbeddingError, match=r"items of toy: looked for nope.npy, "):
        load_embeddings([tmp_path], "toy", None, ITEMS, EmbeddingOptions(item_file="nope.npy"))
    for nameless in ("", "."):
        with pytest.raises(EmbeddingError, match=f"item_profile_file='{nameless}' names no file"):
            load_embeddings([tmp_path], "toy", None, ITEMS, EmbeddingOptions(item_file=nameless))


def test_widths(folder: Path) -> None:
    with pytest.raises(EmbeddingError, match="has 4 columns, but profile_width is 5"):
        load_embeddings([folder], "toy", USERS, ITEMS, EmbeddingOptions(expected_width=5))
    write_binary(folder / "toy.itememb", ITEMS[1:], rows(9, width=3))
    with pytest.raises(EmbeddingError, match=r"has 4 columns and .* has 3"):
        load_embeddings([folder], "toy", USERS, ITEMS, EmbeddingOptions())


@pytest.mark.parametrize("missing", ["mean", "zero"])
@pytest.mark.parametrize("control", ["shuffle", "random"])
def test_controls_touch_real_profiles_only(folder: Path, missing: str, control: str) -> None:
    users = [*USERS, "stranger"]
    options = EmbeddingOptions(missing=missing, control=control, control_seed=2)
    plain = load_embeddings([folder], "toy", users, None, EmbeddingOptions(missing=missing)).users
    controlled = load_embeddings([folder], "toy", users, None, options).users
    assert plain is not None
    assert controlled is not None
    np.testing.assert_array_equal(controlled[[0, 7]], plain[[0, 7]])
    assert (controlled[1:7] != plain[1:7]).any(axis=1).all()
    again = load_embeddings([folder], "toy", users, None, options).users
    np.testing.assert_array_equal(controlled, again)


def test_users_and_items_are_shuffled_independently(folder: Path) -> None:
    write_binary(folder / "toy.itememb", ITEMS[1:7], rows(6))  # the very rows of the users
    options = EmbeddingOptions(control="shuffle")
    got = load_embeddings([folder], "toy", USERS, ITEMS[:7], options)
    assert got.users is not None
    assert got.items is not None
    assert (got.users != got.items).any()
    own = apply_control(np.vstack([np.zeros((1, 4), np.float32), rows(6)]), "shuffle", (0, 0))
    np.testing.assert_array_equal(got.users, own)


@pytest.mark.parametrize(
    "wrong",
    [
        {"missing": "median"},
        {"control": "reverse"},
        {"control_seed": -1},
        {"expected_width": 0},
    ],
)
def test_wrong_options(wrong: dict) -> None:
    with pytest.raises(OptionError):
        EmbeddingOptions(**wrong)

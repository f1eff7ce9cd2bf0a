"""Principal directions and whitening of the profiles, and what is kept of them beside the files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_darec.embeddings import (
    EmbeddingOptions,
    ProfileEmbeddings,
    load_embeddings,
    write_binary,
)
from recbole_darec.embeddings import stored as stored_module
from recbole_darec.errors import EmbeddingError, OptionError

USERS = ["[PAD]", *(f"u{n}" for n in range(30))]
ITEMS = ["[PAD]", *(f"i{n}" for n in range(25))]
TRAINING = {"user": np.arange(1, 28), "item": np.arange(3, 26)}


def correlated(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(5).standard_normal((12, 12))
    scales = 0.9 ** np.arange(12)
    return ((rng.standard_normal((n, 12)) * scales) @ mixing + 2.0).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_binary(tmp_path / "toy.useremb", USERS[1:], correlated(30, 0))
    write_binary(tmp_path / "toy.itememb", ITEMS[1:], correlated(25, 1))
    return tmp_path


def load(folder: Path, **options: Any) -> ProfileEmbeddings:
    return load_embeddings(
        [folder], "toy", USERS, ITEMS, EmbeddingOptions(**options), training=TRAINING
    )


def in_training(found: ProfileEmbeddings) -> np.ndarray:
    assert found.users is not None
    assert found.items is not None
    parts = [found.users[TRAINING["user"]], found.items[TRAINING["item"]]]
    return np.concatenate(parts).astype(np.float64)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.cache"))


def test_directions_are_those_of_the_training_ids(folder: Path) -> None:
    found = load(folder, components=4)
    before = load(folder)
    assert found.rows.shape == (55, 4)
    sample = in_training(before)
    centred = before.rows - sample.mean(0)
    values, vectors = np.linalg.eigh(np.cov(sample.T))
    directions = vectors[:, ::-1][:, :4]
    expected = centred @ directions
    signs = np.sign((expected * found.rows).sum(0))
    np.testing.assert_allclose(found.rows, expected * signs, atol=1e-4)
    np.testing.assert_allclose(in_training(found).var(0, ddof=1), values[::-1][:4], rtol=1e-4)
    np.testing.assert_allclose(in_training(found).mean(0), 0, atol=1e-5)


@pytest.mark.parametrize(("whiten", "count"), [("pca", 5), ("pca", None), ("zca", None)])
def test_whitened_rows_have_the_unit_covariance(
    folder: Path, whiten: str, count: int | None
) -> None:
    found = load(folder, components=count, whiten=whiten)
    width = count or 12
    assert found.width == width
    np.testing.assert_allclose(np.cov(in_training(found).T), np.eye(width), atol=2e-3)


def test_zca_is_the_whitening_that_changes_the_columns_least(folder: Path) -> None:
    sample = in_training(load(folder))
    values, vectors = np.linalg.eigh(np.cov(sample.T))
    expected = (sample - sample.mean(0)) @ (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(in_training(load(folder, whiten="zca")), expected, atol=5e-3)


def test_rows_are_kept_and_read_again_and_may_be_deleted(folder: Path) -> None:
    first = np.array(load(folder, components=4).rows)
    (file,) = kept(folder)
    state = file.stat().st_mtime_ns
    again = load(folder, components=4).rows
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(again, first)
    assert file.stat().st_mtime_ns == state
    again[:] = 0  # a control, or a careless caller
    np.testing.assert_array_equal(load(folder, components=4).rows, first)
    file.unlink()
    np.testing.assert_array_equal(load(folder, components=4).rows, first)


def test_other_options_files_or_training_ids_are_other_rows(folder: Path) -> None:
    load(folder, components=4)
    load(folder, components=3)
    load(folder, components=4, whiten="pca")
    everything = load_embeddings([folder], "toy", USERS, ITEMS, EmbeddingOptions(components=4))
    assert len(kept(folder)) == 4
    assert not np.array_equal(everything.rows, load(folder, components=4).rows)
    write_binary(folder / "toy.useremb", USERS[1:], correlated(30, 8))
    load(folder, components=4)
    assert len(kept(folder)) == 5


@pytest.mark.parametrize("length", [10, -8])
def test_a_kept_file_that_is_cut_short_is_told(folder: Path, length: int) -> None:
    load(folder, components=4)
    (file,) = kept(folder)
    content = file.read_bytes()
    file.write_bytes(content[:length])
    with pytest.raises(EmbeddingError, match=r"cut short or damaged .*delete it"):
        load(folder, components=4)
    file.unlink()
    load(folder, components=4)
    assert file.read_bytes() == content


def test_a_kept_file_of_other_data_is_told(folder: Path) -> None:
    load(folder, components=4)
    (one,) = kept(folder)
    load(folder, components=3)
    (two,) = (file for file in kept(folder) if file != one)
    os.replace(two, one)
    with pytest.raises(EmbeddingError, match="made of other data than its name says"):
        load(folder, components=4)


def test_a_folder_that_takes_no_file_is_not_in_the_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = np.array(load(folder, components=4).rows)
    kept(folder)[0].unlink()

    def full(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(stored_module, "replacing", full)
    for large in (False, True):
        monkeypatch.setattr("recbole_darec.embeddings.load.too_large", lambda *_, x=large: x)
        found = load(folder, components=4).rows
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)
        assert isinstance(found, np.memmap) == large
    assert "cannot be kept" in caplog.text
    assert kept(folder) == []


def test_rows_too_large_for_the_memory_are_mapped_in_half_precision(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(folder).rows
    monkeypatch.setattr("recbole_darec.embeddings.load.too_large", lambda *_: True)
    for _ in range(2):
        found = load(folder).rows
        assert isinstance(found, np.memmap)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected.astype(np.float16))
    assert len(kept(folder)) == 1


def test_missing_rows_and_controls(folder: Path) -> None:
    write_binary(folder / "toy.itememb", ITEMS[2:], correlated(25, 1)[1:])
    mean = load(folder, components=4, missing="mean")
    assert mean.items is not None
    np.testing.assert_allclose(mean.items[1], mean.items[2:].mean(0), atol=1e-5)
    zero = load(folder, components=4, missing="zero", control="shuffle")
    assert zero.items is not None
    assert not zero.items[1].any()
    np.testing.assert_allclose(
        np.sort(zero.items[2:], axis=0), np.sort(mean.items[2:], axis=0), atol=1e-5
    )
    assert not np.allclose(zero.items[2:], mean.items[2:])


def test_what_cannot_be_is_told_in_a_line_and_nothing_is_written(folder: Path) -> None:
    with pytest.raises(OptionError, match="profile_components=13 is more than the 12 columns"):
        load(folder, components=13)
    few = {"user": np.arange(1, 4), "item": np.arange(1, 3)}
    with pytest.raises(OptionError, match="=6 is more than the 5 rows of training ids"):
        load_embeddings([folder], "toy", USERS, ITEMS, EmbeddingOptions(components=6), training=few)
    with pytest.raises(OptionError, match=r"differ in 4 of 5 directions.*profile_components=4 or"):
        load_embeddings([folder], "toy", USERS, ITEMS, EmbeddingOptions(whiten="pca"), training=few)
    write_binary(folder / "toy.useremb", USERS[1:], np.ones((30, 12), np.float32))
    write_binary(folder / "toy.itememb", ITEMS[1:], np.ones((25, 12), np.float32))
    with pytest.raises(OptionError, match=r"differ in 0 of 12 directions.*leave it out"):
        load(folder, whiten="zca")
    rows = correlated(30, 0)
    rows[28, 3] = np.nan
    np.save(folder / "toy.useremb.npy", rows)
    with pytest.raises(EmbeddingError, match="NaN or infinite numbers in the rows of users u28"):
        load(folder, components=4)
    rows[3, 3] = np.nan
    np.save(folder / "toy.useremb.npy", rows)
    with pytest.raises(EmbeddingError, match="NaN or infinite numbers in the rows of users u3"):
        load(folder, components=4)
    assert sorted(p.name for p in folder.iterdir()) == [
        "toy.itememb.npy", "toy.itememb.tokens", "toy.useremb.npy", "toy.useremb.tokens",
    ]  # fmt: skip


def test_more_rows_than_are_needed_are_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_darec.embeddings.components._MOST_ROWS", 40)
    drawn = np.array(load(folder, components=2).rows)
    kept(folder)[0].unlink()
    np.testing.assert_array_equal(load(folder, components=2).rows, drawn)
    kept(folder)[0].unlink()
    monkeypatch.setattr("recbole_darec.embeddings.components._MOST_ROWS", 50)
    assert not np.array_equal(load(folder, components=2).rows, drawn)

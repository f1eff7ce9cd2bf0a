"""Rows in the store: what was kept is found, by encoder and text, also by another process."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from recbole_darec.encoders import Encoded
from recbole_darec.encoders.vector_cache import VectorsInMemory, open_vector_cache
from recbole_darec.errors import DataError, EmbeddingError


def encoded(rows, pieces=None) -> Encoded:
    rows = np.asarray(rows, dtype=np.float32)
    return Encoded(rows, np.ones(len(rows), int) if pieces is None else np.asarray(pieces))


def test_rows_come_back_bit_for_bit_and_only_for_their_encoder(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    rows = np.random.RandomState(0).standard_normal((3, 7)).astype(np.float32)
    with open_vector_cache(path, "one") as cache:
        assert cache.missing(["a", "b", "a"]) == ["a", "b"]
        cache.keep(["a", "b", "ü\n"], encoded(rows, [1, 4, 1]))
    with open_vector_cache(path, "one") as cache:
        assert cache.missing(["ü\n", "A", "b"]) == ["A"]
        assert (cache.matrix(["b", "a", "b"], np.dtype("float32")) == rows[[1, 0, 1]]).all()
        assert (cache.matrix(["a"], np.dtype("float16")) == rows[:1].astype(np.float16)).all()
        assert cache.pieces(["a", "b"]) == {"b": 4}
    with open_vector_cache(path, "two") as cache:
        assert cache.missing(["a", "b"]) == ["a", "b"]


def test_more_texts_than_one_question_takes(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(2345)]
    rows = np.arange(2345, dtype=np.float32)[:, None]
    with open_vector_cache(tmp_path / "s.sqlite", "one") as cache:
        cache.keep(texts[::2], encoded(rows[::2]))
        assert cache.missing(texts) == texts[1::2]
        cache.keep(texts[1::2], encoded(rows[1::2]))
        assert (cache.matrix(texts[::-1], np.dtype("float32")) == rows[::-1]).all()


def test_another_width_under_the_same_name_is_refused_whole(tmp_path: Path) -> None:
    with open_vector_cache(tmp_path / "s.sqlite", "one") as cache:
        cache.keep(["a"], encoded([[1, 2]]))
        with pytest.raises(EmbeddingError, match=r"width 3, but those in .* have 2"):
            cache.keep(["b"], encoded([[1, 2, 3]]))
        assert cache.missing(["a", "b"]) == ["b"]


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with open_vector_cache(path, "one") as cache:
        with pytest.raises(UnicodeEncodeError):
            # surrogatepass lets half a pair through; a text that cannot be hashed at all does not
            cache.keep(["a", _Unhashable("b")], encoded([[1], [2]]))
        assert cache.missing(["a"]) == ["a"]


class _Unhashable(str):
    def encode(self, *_: object) -> bytes:
        raise UnicodeEncodeError("utf-8", "b", 0, 1, "no")


def test_a_damaged_row_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with open_vector_cache(path, "one") as cache:
        cache.keep(["a"], encoded([[1, 2]]))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE embedding SET vector = x'00'")
    db.close()
    with open_vector_cache(path, "one") as cache, pytest.raises(DataError, match="damaged row"):
        cache.matrix(["a"], np.dtype("float32"))


def test_the_revision_is_recalled_and_a_change_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_vector_cache(tmp_path / "s.sqlite", "one") as cache:
        assert cache.settle_revision(None) is None
        assert cache.settle_revision("v1") == "v1"
        assert cache.settle_revision(None) == "v1"
        assert not caplog.records
        with caplog.at_level(logging.WARNING):
            assert cache.settle_revision("v2") == "v2"
    assert "now calls its model 'v2'" in caplog.text


def test_rows_in_memory() -> None:
    vectors = VectorsInMemory()
    assert vectors.missing(["b", "a", "b"]) == ["b", "a"]
    vectors.keep(["a", "b"], encoded([[1, 2], [3, 4]]))
    assert vectors.missing(["b", "c"]) == ["c"]
    assert vectors.matrix(["b", "a", "b"], np.dtype("float32")).tolist() == [[3, 4], [1, 2], [3, 4]]

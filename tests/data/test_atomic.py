from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec.data import atomic
from recbole_darec.errors import DataError


def read_as_recbole_does(path):
    """The call in ``Dataset._load_feat``."""
    with open(path, encoding="utf-8") as file:
        head = file.readline()[:-1].split("\t")
    dtype = {name: np.float64 if name.endswith(":float") else str for name in head}
    return pd.read_csv(
        path, delimiter="\t", usecols=head, dtype=dtype, encoding="utf-8", engine="python"
    )


@given(
    users=st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=8),
    number=st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_passes_the_check_survives_recboles_reader(users, number, tmp_path_factory):
    try:
        atomic.check_tokens(users, "here")
    except DataError:
        return
    folder = tmp_path_factory.getbasetemp()
    frame = pd.DataFrame({"user_id": users, "item_id": "i", "rating": number})
    (path,) = atomic.write_inter(folder, "x", {"": frame})
    assert path.name == "x.inter"
    found = read_as_recbole_does(path)
    assert list(found) == ["user_id:token", "item_id:token", "rating:float"]
    assert found["user_id:token"].tolist() == users
    # pandas' reader may miss the nearest float by one unit
    assert found["rating:float"].tolist() == pytest.approx([number] * len(users), rel=1e-15)


@pytest.mark.parametrize("token", ["a b", '"', 'a"b', "'", "007", "1.0", "#1", "ü", "a,b", " a"])
def test_unusual_ids_survive(token, tmp_path):
    atomic.check_tokens([token], "here")
    frame = pd.DataFrame({"user_id": [token], "item_id": [token]})
    (path,) = atomic.write_inter(tmp_path, "x", {"train": frame})
    assert path.name == "x.train.inter"
    assert read_as_recbole_does(path).to_numpy().tolist() == [[token, token]]


@pytest.mark.parametrize("token", ["", "NA", "nan", "null", "None", "N/A", "<NA>", "[PAD]"])
def test_ids_that_recbole_would_lose_are_refused(token, tmp_path):
    with pytest.raises(DataError, match=r"x\.csv, row 3: "):
        atomic.check_tokens(["a", "b", token], "x.csv")


@pytest.mark.parametrize("token", ["a\tb", "a\nb", "a\rb", "\x00", "a\u2028", "\ud800", "\x85"])
def test_ids_with_control_characters_are_refused(token):
    with pytest.raises(DataError, match=r"row 2: .*control character") as caught:
        atomic.check_tokens(["a", token], "x.csv")
    assert str(caught.value).isprintable()


def test_profiles(tmp_path):
    texts = ['naïve ☕\n\t"x"', "cut \ud83d"]
    path = atomic.write_profiles(tmp_path, "x", "user", ["a", "b"], texts)
    assert path.name == "x.userprofile.jsonl"
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert found == [{"id": "a", "profile": texts[0]}, {"id": "b", "profile": "cut ?"}]


@pytest.mark.parametrize("fixed", [True, False])
def test_yaml(fixed, tmp_path):
    columns = ["user_id", "item_id", "rating", "timestamp"]
    path = atomic.write_dataset_yaml(tmp_path, "x", columns, fixed, "a note\nof two lines")
    assert path.name == "x.yaml"
    assert yaml.safe_load(path.read_text()) == {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "RATING_FIELD": "rating",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": columns},
        "benchmark_filename": ["train", "valid", "test"] if fixed else None,
    }


@pytest.mark.parametrize("name", ["", "..", "a/b", ".x", "a b", "-x", "x\n", "ml-100k"])
def test_names_that_are_no_data_set_names(name):
    with pytest.raises(DataError):
        atomic.check_dataset_name(name)
    assert atomic.check_dataset_name("amazon-book_5.1") == "amazon-book_5.1"


# -- whole or nothing -----------------------------------------------------------------------------


def snapshot(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_staged_folder_appears_whole(tmp_path):
    target = tmp_path / "deep" / "out" / "yelp"
    with atomic.staged_folder(target) as stage:
        (stage / "yelp.inter").write_text("x")
        assert not target.exists()
    assert snapshot(tmp_path) == ["deep", "deep/out", "deep/out/yelp", "deep/out/yelp/yelp.inter"]
    assert target.stat().st_mode & 0o077 == 0o077 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_nothing(error, tmp_path):
    expected = DataError if error is OSError else error

    def fail():
        with atomic.staged_folder(tmp_path / "deep" / "out" / "yelp") as stage:
            (stage / "yelp.inter").write_text("x")
            raise error(28, "No space left on device")

    with pytest.raises(expected):
        fail()
    assert snapshot(tmp_path) == []


def test_overwriting(tmp_path):
    target = tmp_path / "yelp"
    target.mkdir()
    (target / "yelp.inter").write_text("old")
    (target / "yelp.yaml").write_text("old")
    with pytest.raises(DataError, match="--overwrite"), atomic.staged_folder(target):
        pass

    def fail():
        with atomic.staged_folder(target, overwrite=True):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert snapshot(tmp_path) == ["yelp", "yelp/yelp.inter", "yelp/yelp.yaml"]
    with atomic.staged_folder(target, overwrite=True) as stage:
        (stage / "yelp.inter").write_text("new")
    assert snapshot(tmp_path) == ["yelp", "yelp/yelp.inter"]
    assert (target / "yelp.inter").read_text() == "new"


def test_overwriting_spares_what_no_import_wrote(tmp_path):
    target = tmp_path / "yelp"
    target.mkdir()
    for name in ("thesis.tex", "yelp.useremb"):
        (target / name).write_text("years of work")
    with pytest.raises(DataError, match="thesis") as caught:
        atomic.staged_folder(target, overwrite=True).__enter__()
    assert "yelp.useremb" in str(caught.value)
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(DataError, match="link"), atomic.staged_folder(link, overwrite=True):
        pass
    assert (target / "thesis.tex").exists()
    assert link.is_symlink()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    target = tmp_path / "file" / "yelp"
    with pytest.raises(DataError, match="cannot write"), atomic.staged_folder(target):
        pass
    assert snapshot(tmp_path) == ["file"]


def test_what_a_run_kept_beside_the_files_is_no_reason_not_to_replace_them(tmp_path):
    target = tmp_path / "yelp"
    target.mkdir()
    for name in ("yelp.inter", "yelp.inter.parsed.cache", "yelp.profiles.0a1b.cache"):
        (target / name).write_text("x")
    (target / "other.cache").write_text("x")
    refused = pytest.raises(DataError, match=r"did not write \(other.cache\)")
    with refused, atomic.staged_folder(target, overwrite=True):
        pass
    (target / "other.cache").unlink()
    with atomic.staged_folder(target, overwrite=True) as stage:
        (stage / "yelp.inter").write_text("new")
    assert [path.name for path in target.iterdir()] == ["yelp.inter"]


@given(st.lists(st.text(max_size=3) | st.sampled_from(["NA", "[PAD]", "\xa0", "\u2028", "a\tb"])))
def test_all_ids_are_sound_if_each_is(tokens: list[str]) -> None:
    assert atomic.all_sound(tokens) == (not any(map(atomic.token_fault, tokens)))

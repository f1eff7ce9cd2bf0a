"""Data sets read by the fast reader, and negatives drawn from arrays, are RecBole's own."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recbole.sampler import Sampler

from recbole_darec.backbones.registry import backbone_class
from recbole_darec.recbole_compat import fast_data, load_dataset, make_config, split_dataset
from recbole_darec.recbole_compat.fast_data import SortedSampler, UsedItems
from recbole_darec.resolve import resolve

PLAIN = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ROWS = [("007", "1.0", 3.5, 1.7e9 + 0.125), ("u 2", "ä", -0.1, 0), ("007", "b'c", 1e-7, 5)]


def lines(rows: Any = ROWS, separator: str = "\t") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def many(n: int = 400) -> str:
    rng = np.random.default_rng(3)
    numbers = [repr(float(x)) for x in (rng.standard_normal(n) * 10.0 ** rng.integers(-20, 14, n))]
    return lines(
        zip(rng.integers(0, 50, n), rng.integers(0, 40, n), numbers, rng.integers(0, 2**31, n))
    )


# name: content of the .inter file, options, and what the log says of RecBole's way
CASES: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "plain": (PLAIN + lines(), {}, None),
    "many": (PLAIN + many(), {}, None),
    "no last line end": (PLAIN + lines().rstrip("\n"), {}, None),
    "comma": (PLAIN.replace("\t", ",") + lines(separator=","), {"field_separator": ","}, None),
    "bar": (PLAIN.replace("\t", "|") + lines(separator="|"), {"field_separator": "|"}, None),
    "long separator": (
        PLAIN.replace("\t", "::") + lines(separator="::"), {"field_separator": "::"}, "separator",
    ),
    "byte order mark": ("\ufeff" + PLAIN + lines(), {}, "byte order mark"),
    "columns": (PLAIN + lines(), {"load_col": {"inter": ["item_id", "user_id"]}}, None),
    "left out": (PLAIN + lines(), {"unload_col": {"inter": ["rating"]}}, None),
    "empty numbers": (PLAIN + lines([*ROWS, ("u", "i", "", "NA")]), {}, None),
    "quotes": (PLAIN + lines([*ROWS, ('"u\tv"', "i", 1, 2)]), {}, "quotes"),
    "half a quote": (PLAIN + lines([*ROWS, ('u"v', 'i"', 1, 2)]), {}, "quotes"),
    "windows": ((PLAIN + lines()).replace("\n", "\r\n"), {}, "carriage returns"),
    "blank line": (PLAIN + lines() + "\n" + lines([("x", "y", 1, 2)]), {}, "white space"),
    "leading blank": (PLAIN + lines([*ROWS, (" u", "i", 1, 2)]), {}, "white space"),
    "short row": (PLAIN + lines() + "u\ti\t1\n", {}, "more or fewer cells"),
    "long row": (PLAIN + lines() + "u\ti\t1\t2\t3\n", {}, "more or fewer cells"),
    "great numbers": (PLAIN + lines([*ROWS, ("u", "i", 1, 2**60 + 1)]), {}, "above 2\\^53"),
    "sequences": (
        "user_id:token\titem_id:token\ttags:token_seq\tw:float_seq\n"
        "u\ti\ta b  c\t1 2.5\nu\tj\t\t\nv\tj\tc\t7\n",
        {}, None,
    ),
    "other separator in sequences": (
        "user_id:token\titem_id:token\ttags:token_seq\nu\ti\ta,b\nv\tj\t\nv\ti\tb\n",
        {"seq_separator": ","}, None,
    ),
    "latin": (PLAIN + lines([("u", "i", 1, 2), ("v", "j", 1, 2)]), {"encoding": "latin-1"}, "enc"),
}  # fmt: skip


def config_of(folder: Path, **changed: Any) -> Any:
    values = {"data_path": str(folder), "align": "none", **changed}
    return make_config(resolve("BPR", "toy", None, values), backbone_class("BPR"))


def everything(dataset: Any) -> dict[str, Any]:
    names = ("field2type", "field2source", "field2seqlen", "field2token_id", "file_size_list")
    found = {name: getattr(dataset, name, None) for name in names}
    found["tokens"] = {k: list(v) for k, v in dataset.field2id_token.items()}
    for name in ("inter_feat", "user_feat", "item_feat"):
        frame = getattr(dataset, name)
        if frame is not None:
            found[name] = {
                field: [np.asarray(cell).tolist() for cell in frame[field]] for field in frame
            }
            found[name + " types"] = {f: str(t) for f, t in frame.dtypes.items()}
    return found


def recboles(config: Any) -> Any:
    return importlib.import_module("recbole.data.dataset").Dataset(config)


@pytest.mark.parametrize("case", CASES)
def test_a_data_set_is_what_recbole_reads(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, changed, reason = CASES[case]
    (tmp_path / "toy").mkdir()
    encoding = changed.get("encoding", "utf-8")
    (tmp_path / "toy" / "toy.inter").write_bytes(content.encode(encoding))
    features = "item_id:token\tname:token_seq\tprice:float\n1.0\ta b\t\n\u00e4\t\t2\nzz\tb\t3\n"
    features = features.replace("\t", changed.get("field_separator", "\t"))
    (tmp_path / "toy" / "toy.item").write_text(features, encoding=encoding)
    unread = {"load_col": None} if "load_col" not in changed else {}
    config = config_of(tmp_path, filter_inter_by_user_or_item=False, **unread, **changed)
    with caplog.at_level(logging.INFO):
        ours = load_dataset(config)
    expected = everything(recboles(config))
    np.testing.assert_equal(everything(ours), expected)
    told = [r.message for r in caplog.records if "own way" in r.message and ".inter" in r.message]
    assert bool(told) == bool(reason)
    if reason:
        import re

        assert re.search(reason, told[0])


@pytest.mark.parametrize("group_by", ["user", None])
@pytest.mark.parametrize("ratios", [[0.8, 0.1, 0.1], [3, 1, 1]])
def test_parts_are_recboles_row_by_row(
    tmp_path: Path, group_by: str | None, ratios: list[float]
) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.inter").write_text(PLAIN + many(900))
    args = {"split": {"RS": ratios}, "group_by": group_by, "order": "RO", "mode": "full"}
    config = config_of(tmp_path, eval_args=args, load_col=None)
    import torch

    torch.manual_seed(4)
    ours, _ = split_dataset(config, load_dataset(config))
    torch.manual_seed(4)
    theirs = recboles(config).build()
    for one, other in zip(ours, theirs):
        assert list(one.inter_feat.interaction) == list(other.inter_feat.interaction)
        for field, values in other.inter_feat.interaction.items():
            np.testing.assert_array_equal(one.inter_feat[field].numpy(), values.numpy())


def parts_of(seed: int, n_users: int = 9, n_items: int = 12) -> list[Any]:
    rng = np.random.default_rng(seed)
    import torch

    made = []
    for _ in range(3):
        users, items = rng.integers(1, n_users, 25), rng.integers(1, n_items - 1, 25)
        feat = {"u": torch.from_numpy(users), "i": torch.from_numpy(items)}
        made.append(
            SimpleNamespace(
                uid_field="u", iid_field="i", user_num=n_users, item_num=n_items, inter_feat=feat
            )
        )
    return made


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("phase", ["train", "valid", "test"])
def test_negatives_are_recboles_draw_for_draw(distribution: str, phase: str) -> None:
    phases = ["train", "valid", "test"]
    for seed in range(3):
        drawn = []
        for sampler_class in (Sampler, SortedSampler):
            sampler = sampler_class(phases, parts_of(seed), distribution, 0.75).set_phase(phase)
            np.random.seed(seed)  # noqa: NPY002 - what RecBole draws from
            users = [*range(1, 9), 3, 3, 0]
            drawn.append([
                sampler.sample_by_user_ids(users, None, 4).tolist(),
                sampler.sample_by_user_ids([5, 5], None, 7).tolist(),
            ])  # fmt: skip
            for user in range(9):
                items = set(sampler.used_ids[user])
                drawn[-1].append(sorted(map(int, items)))
        assert drawn[0] == drawn[1]


def test_a_user_of_all_items_and_one_who_is_not_there_are_refused_as_before() -> None:
    parts = parts_of(0)
    import torch

    parts[2].inter_feat = {"u": torch.full((11,), 4), "i": torch.arange(1, 12)}
    for sampler_class in (Sampler, SortedSampler):
        with pytest.raises(ValueError, match="Some users have interacted with all items"):
            sampler_class(["train", "valid", "test"], parts)
        sampler = sampler_class(["train", "valid", "test"], parts_of(0)).set_phase("train")
        with pytest.raises(ValueError, match=r"user_id \[99\] not exist"):
            sampler.sample_by_user_ids(np.array([1, 99]), None, 1)


def test_no_interactions_at_all_have_no_items() -> None:
    used = UsedItems(np.empty(0, np.int64), 3, 4)
    assert used.has(np.array([1, 2]), np.array([1, 3])).tolist() == [False, False]
    assert used[2] == set()


@pytest.mark.parametrize("case", ["plain", "many", "empty numbers", "sequences", "columns"])
def test_the_cache_gives_the_same_data_set_again(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_darec.data.parsed.WORTH_KEEPING", 0)
    content, changed, _ = CASES[case]
    file = tmp_path / "toy" / "toy.inter"
    file.parent.mkdir()
    file.write_text(content, encoding="utf-8")
    config = config_of(tmp_path, load_col=changed.get("load_col"))
    expected = everything(recboles(config))
    np.testing.assert_equal(everything(load_dataset(config)), expected)
    (cache,) = tmp_path.glob("toy/*.cache")
    state = cache.stat().st_mtime_ns
    np.testing.assert_equal(everything(load_dataset(config)), expected)
    assert cache.stat().st_mtime_ns == state


def test_a_cache_of_another_file_or_way_or_cut_short_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("recbole_darec.data.parsed.WORTH_KEEPING", 0)
    file = tmp_path / "toy" / "toy.inter"
    file.parent.mkdir()
    file.write_text(PLAIN + many(), encoding="utf-8")
    config = config_of(tmp_path, load_col=None)
    load_dataset(config)
    (cache,) = tmp_path.glob("toy/*.cache")
    fewer = config_of(tmp_path, load_col={"inter": ["user_id", "item_id"]})
    np.testing.assert_equal(everything(load_dataset(fewer)), everything(recboles(fewer)))
    whole = cache.read_bytes()
    for length in (0, 100, len(whole) // 2, -3):
        cache.write_bytes(whole[:length])
        np.testing.assert_equal(everything(load_dataset(fewer)), everything(recboles(fewer)))
        assert cache.read_bytes() == whole
    assert "is damaged" in caplog.text
    file.write_text(PLAIN + many(300), encoding="utf-8")
    np.testing.assert_equal(everything(load_dataset(fewer)), everything(recboles(fewer)))

    def full(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    cache.unlink()
    monkeypatch.setattr("recbole_darec.data.parsed.replacing", full)
    np.testing.assert_equal(everything(load_dataset(config)), everything(recboles(config)))
    assert "cannot be kept" in caplog.text
    assert not cache.exists()


def test_options_that_the_fast_reader_does_not_know_go_to_pandas(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    found = fast_data._read_csv(str(path), sep=",")
    pd.testing.assert_frame_equal(found, pd.read_csv(path, sep=","))

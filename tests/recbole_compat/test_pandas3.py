"""RecBole's data sets give the same values on every pandas: those written here by hand.

Each is loaded twice: by this package, and by RecBole's own ``create_dataset`` after ``reconcile``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data import create_dataset

from recbole_darec.recbole_compat import AlignedConfig, load_dataset, reconcile

INTER = """\
user_id:token,item_id:token,rating:float,timestamp:float,seen:token_seq
u1,a,4,1,
u1,b,2,2,a
u2,c,5,3,
u2,a,1,4,c b a
u3,d,3,5,
u3,b,5,6,d
"""
USER = """\
user_id:token,age:float,city:token
u1,20,Bonn
u2,,
u3,40,Ulm
"""
# b has empty cells, d no line at all.
ITEM = """\
item_id:token,genre:token_seq,price:float,size:float_seq,brand:token
a,toy game,10,1 2 3,acme
b,,,5,
c,game,40,,bolt
"""
KG = """\
head_id:token,relation_id:token,tail_id:token
e1,made_by,e9
e2,made_by,e9
e9,part_of,e3
"""
LINK = """\
item_id:token,entity_id:token
a,e1
b,e2
d,e3
"""

Load = Callable[..., Any]


@pytest.fixture(params=["ours", "RecBole's"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Load:
    """``load(model, **options)``: the data set, whose features are tensors already."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for suffix, text in (("inter", INTER), ("user", USER), ("item", ITEM), ("kg", KG)):
        (folder / f"shop.{suffix}").write_text(text.replace(",", "\t"), encoding="utf-8")
    (folder / "shop.link").write_text(LINK.replace(",", "\t"), encoding="utf-8")

    def load(model: str = "BPR", **options: Any) -> Any:
        config = shop_config(tmp_path, model, **options)
        if request.param == "ours":
            return load_dataset(config)
        reconcile()
        return create_dataset(config)

    return load


def shop_config(data_path: Path, model: str, **options: Any) -> AlignedConfig:
    given = {
        "data_path": str(data_path),
        "checkpoint_dir": str(data_path / "saved"),
        "load_col": None,
        "unload_col": {"inter": ["seen"]},
        "filter_inter_by_user_or_item": False,
        "use_gpu": False,
        "gpu_id": "",
        **options,
    }
    return AlignedConfig(model=model, dataset="shop", config_dict=given)


def in_tensors(dataset: Any) -> Any:
    dataset._change_feat_format()
    return dataset


def rows(values: Any) -> list[Any]:
    return values.tolist()


def test_sequences_of_tokens_and_their_empty_cells(load: Load) -> None:
    dataset = in_tensors(load())
    assert list(dataset.field2id_token["item_id"]) == ["[PAD]", "a", "b", "c", "d"]
    assert list(dataset.field2id_token["genre"]) == ["[PAD]", "toy", "game"]
    assert rows(dataset.item_feat["genre"]) == [[0, 0], [1, 2], [0, 0], [2, 0], [0, 0]]


def test_sequences_of_numbers_and_their_empty_cells(load: Load) -> None:
    dataset = in_tensors(load())
    assert rows(dataset.item_feat["size"]) == [[0, 0, 0], [1, 2, 3], [5, 0, 0], [0] * 3, [0] * 3]
    assert dataset.field2seqlen["size"] == 3


def test_missing_tokens_become_padding_and_missing_numbers_the_mean(load: Load) -> None:
    dataset = load()
    assert rows(dataset.item_feat["price"]) == [25, 10, 25, 40, 25]
    assert rows(dataset.item_feat["brand"]) == [0, 1, 0, 2, 0]
    assert rows(dataset.user_feat["age"]) == [30, 20, 30, 40]
    assert rows(dataset.user_feat["city"]) == [0, 1, 0, 2]
    assert list(dataset.field2id_token["city"]) == ["[PAD]", "Bonn", "Ulm"]
    in_tensors(dataset)
    assert rows(dataset.item_feat["price"]) == [25, 10, 25, 40, 25]
    assert rows(dataset.user_feat["city"]) == [0, 1, 0, 2]
    assert dataset.user_feat["city"].dtype == torch.int64


def test_a_sequence_shared_with_the_items_ids(load: Load) -> None:
    dataset = in_tensors(load(unload_col=None, alias_of_item_id=["seen"]))
    assert list(dataset.field2id_token["seen"]) == ["[PAD]", "a", "b", "c", "d"]
    expected = [[0] * 3, [1, 0, 0], [0] * 3, [3, 2, 1], [0] * 3, [4, 0, 0]]
    assert rows(dataset.inter_feat["seen"]) == expected


def test_normalised_numbers(load: Load) -> None:
    dataset = in_tensors(load(normalize_field=["price", "size"]))
    assert rows(dataset.item_feat["price"]) == [0.5, 0, 0.5, 1, 0.5]
    expected = [[0] * 3, [0, 0.25, 0.5], [1, 0, 0], [0] * 3, [0] * 3]
    assert rows(dataset.item_feat["size"]) == expected


def test_numbers_in_buckets(load: Load) -> None:
    # Four buckets from 1 to 5 (and a billionth): 1 and 2 in the first, 3 in the second.
    buckets = {"size": {"method": "ED", "bucket": 4}}
    dataset = in_tensors(load(numerical_features=["size"], discretization=buckets))
    found = dataset.item_feat["size"]
    assert rows(found[..., 0]) == [[0] * 3, [1, 1, 1], [1, 0, 0], [0] * 3, [0] * 3]
    assert rows(found[..., 1]) == [[0] * 3, [1, 1, 2], [4, 0, 0], [0] * 3, [0] * 3]
    assert dataset.num("size") == 5


def test_numerical_features_without_buckets(load: Load) -> None:
    found = in_tensors(load(numerical_features=["size", "price"])).item_feat
    assert rows(found["size"][..., 0]) == [[0] * 3, [1, 2, 3], [5, 0, 0], [0] * 3, [0] * 3]
    assert rows(found["size"][..., 1]) == [[0] * 3, [1, 1, 1], [1, 0, 0], [0] * 3, [0] * 3]
    assert rows(found["price"]) == [[25, 1], [10, 1], [25, 1], [40, 1], [25, 1]]


# ---- sequential data --------------------------------------------------------------------------

LISTS = {
    "train": ["u1,a,b", "u1,a b,c", "u2,c b a,d"],
    "valid": ["u2,c b a d,a"],
    "test": ["u1,a b c,d", "u2,b,c"],
}


@pytest.mark.parametrize("ours", [True, False])
def test_item_lengths_of_ready_made_sequences(ours: bool, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    for part, lines in LISTS.items():
        text = "\n".join(["user_id:token,item_id_list:token_seq,item_id:token", *lines, ""])
        file = tmp_path / "shop" / f"shop.{part}.inter"
        file.write_text(text.replace(",", "\t"), encoding="utf-8")
    config = shop_config(
        tmp_path,
        "GRU4Rec",
        unload_col=None,
        benchmark_filename=["train", "valid", "test"],
        alias_of_item_id=["item_id_list"],
        train_neg_sample_args=None,
    )
    reconcile()
    dataset = load_dataset(config) if ours else create_dataset(config)
    assert type(dataset).__name__ == "SequentialDataset"
    assert rows(dataset.inter_feat["item_length"]) == [1, 2, 3, 4, 3, 1]
    parts = [part.inter_feat for part in dataset.build()]
    assert [rows(part["item_length"]) for part in parts] == [[1, 2, 3], [4], [3, 1]]
    # Ids in the order of the targets, then of the lists: b, c, d, a.
    assert list(dataset.field2id_token["item_id"]) == ["[PAD]", "b", "c", "d", "a"]
    assert rows(parts[0]["item_id_list"]) == [[4, 0, 0, 0], [4, 1, 0, 0], [2, 1, 4, 0]]
    assert rows(parts[0]["item_id"]) == [1, 2, 3]


def test_sequences_made_from_interactions(load: Load) -> None:
    dataset = in_tensors(load("GRU4Rec", train_neg_sample_args=None, MAX_ITEM_LIST_LENGTH=2))
    assert type(dataset).__name__ == "SequentialDataset"
    found = dataset.inter_feat
    assert rows(found["user_id"]) == [1, 2, 3]
    assert rows(found["item_id_list"]) == [[1, 0], [3, 0], [4, 0]]
    assert rows(found["item_id"]) == [2, 1, 2]
    assert rows(found["item_length"]) == [1, 1, 1]
    assert rows(found["rating_list"]) == [[4, 0], [5, 0], [3, 0]]


# ---- knowledge graphs -------------------------------------------------------------------------


def test_items_and_entities_share_their_ids(load: Load, tmp_path: Path) -> None:
    # c stays in a sequence only: RecBole fails where it drops interactions of an unlinked item.
    inter = INTER.replace("u2,c,5,3,", "u2,b,5,3,").replace(",", "\t")
    (tmp_path / "shop" / "shop.inter").write_text(inter, encoding="utf-8")
    dataset = in_tensors(load("KGAT", unload_col=None, alias_of_item_id=["seen"]))
    assert type(dataset).__name__ == "KnowledgeBasedDataset"
    # Items without an entity come first.
    assert list(dataset.field2id_token["item_id"]) == ["[PAD]", "c", "a", "b", "d"]
    assert list(dataset.field2id_token["entity_id"])[2:] == ["e1", "e2", "e3", "e9"]
    assert rows(dataset.inter_feat["item_id"]) == [2, 3, 3, 2, 4, 3]
    expected = [[0] * 3, [2, 0, 0], [0] * 3, [1, 3, 2], [0] * 3, [4, 0, 0]]
    assert rows(dataset.inter_feat["seen"]) == expected
    triples = zip(*(rows(dataset.kg_feat[name]) for name in ("head_id", "relation_id", "tail_id")))
    assert list(triples) == [(2, 1, 5), (3, 1, 5), (5, 2, 4)]


# ---- tensors ----------------------------------------------------------------------------------


def test_tensors_may_be_written_to(load: Load) -> None:
    dataset = load()
    frame = dataset.inter_feat
    items = rows(frame["item_id"])
    in_tensors(dataset).inter_feat["item_id"].fill_(0)
    assert rows(dataset.inter_feat["item_id"]) == [0] * 6
    if frame["item_id"].to_numpy().flags.writeable:
        pytest.skip("before pandas 3 a column's memory is anybody's")
    assert rows(frame["item_id"]) == items == [1, 2, 3, 1, 4, 2]


def test_reconciling_again_changes_nothing() -> None:
    from recbole.data.dataset import Dataset

    reconcile()
    before, filters = dict(vars(Dataset)), list(warnings.filters)
    reconcile()
    assert dict(vars(Dataset)) == before
    assert sorted(map(str, warnings.filters)) == sorted(map(str, filters))


def test_lengths_of_anything_but_a_column_are_its_own() -> None:
    from recbole.data.dataset import dataset

    reconcile()
    for value, length in (([1, 2], 2), ("abc", 3), (np.zeros((2, 5)), 2), (pd.DataFrame([1]), 1)):
        assert dataset.len(value) == length
    assert rows(pd.Series([[], [1], [1, 2]]).agg(dataset.len)) == [0, 1, 2]

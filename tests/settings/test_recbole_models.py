"""Options of RecBole's own models: a wrong value is one line, before RecBole is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_darec.backbones.registry import backbone_names
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.settings.options import documentation, option_names, parse_options
from recbole_darec.settings.recbole_models import recbole_model_keys, recbole_model_options
from recbole_darec.testing.tiny_runs import prepared


@pytest.mark.parametrize("model", backbone_names())
def test_recbole_s_own_defaults_are_permitted(model: str) -> None:
    group = recbole_model_options(model)
    made = parse_options(group, {})
    assert set(option_names(group)) <= recbole_model_keys(model)
    for name, _, default, _ in documentation(group):
        assert getattr(made, name) == default
        assert getattr(parse_options(group, {name: default}), name) == default


def of(model: str, **given: Any) -> Any:
    return resolve(model, "ml-100k", None, {"align": "none", **given}).values


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        ("SASRec", {"hidden_size": 0.5}, "hidden_size=0.5 is not an int"),
        ("SASRec", {"hidden_size": 0}, "hidden_size=0 must be at least 1"),
        ("SASRec", {"n_heads": False}, "n_heads=False is not an int"),
        ("SASRec", {"n_heads": 3, "hidden_size": 8}, "n_heads=3 does not divide hidden_size=8"),
        ("SASRec", {"inner_size": [1, 2]}, r"inner_size=\[1, 2\] is not an int"),
        ("SASRec", {"initializer_range": -1}, "initializer_range=-1.* must be at least 0"),
        ("SASRec", {"layer_norm_eps": 0.0}, "layer_norm_eps=0.0 must be above 0"),
        ("SASRec", {"hidden_dropout_prob": 1.5}, "must be at least 0 and below 1"),
        ("SASRec", {"hidden_act": "gellu"}, "hidden_act='gellu' must be one of gelu, relu"),
        ("SASRec", {"transform": "crop_itemseq"}, "transform=crop_itemseq changes the sequences"),
        ("GRU4Rec", {"num_layers": 0}, "num_layers=0 must be at least 1"),
        ("Caser", {"nv": "four"}, "nv='four' is not an int"),
        ("NGCF", {"hidden_size_list": "abc"}, "hidden_size_list=.*'abc'"),
        ("NGCF", {"hidden_size_list": [64, 0]}, "hidden_size_list=.* must be at least 1"),
        ("NGCF", {"node_dropout": "no"}, "node_dropout='no' is not a float"),
        ("DGCF", {"n_iterations": 0.5}, "n_iterations=0.5 is not an int"),
        ("FISM", {"reg_weights": [0.1]}, r"reg_weights=\[0.1\] has 1 values: give 2"),
        ("DMF", {"item_hidden_size_list": []}, r"=\[\] has 0 values: give one or more"),
        ("CDAE", {"loss_type": "abc"}, "loss_type='abc' must be one of BCE, MSE"),
        ("NNCF", {"neigh_info_method": "louvian"}, "must be one of knn, louvain, random"),
        ("NeuMF", {"mf_train": "maybe"}, "mf_train='maybe' is not a bool"),
        ("SASRec", {"field_separator": ""}, "field_separator='' separates nothing"),
    ],
)
def test_a_wrong_value_is_one_line(model: str, values: dict[str, Any], message: str) -> None:
    family = {"benchmark_filename": None} if model in ("SASRec", "GRU4Rec", "Caser") else {}
    with pytest.raises(OptionError, match=message) as raised:
        of(model, **family, **values)
    assert "\n" not in str(raised.value)


def test_a_right_value_is_taken_and_of_its_type() -> None:
    values = of("SASRec", hidden_size=32.0, n_heads=4, hidden_dropout_prob=0)
    assert (values["hidden_size"], values["hidden_dropout_prob"]) == (32, 0.0)
    assert of("NGCF", node_dropout=None, hidden_size_list=None)["node_dropout"] is None
    assert of("SimpleX", negative_weight=0.5)["negative_weight"] == 0.5
    # One name, a number in most models and a list in this.
    assert of("HGN", reg_weight=[0.1, 0.2])["reg_weight"] == [0.1, 0.2]
    with pytest.raises(OptionError, match=r"reg_weight=.* is not a float"):
        of("BPR", reg_weight=[0.1, 0.2])


def test_what_a_constructor_refuses_is_one_line(tiny_dataset: object, tmp_path: Path) -> None:
    message = r"RecBole's model 'ConvNCF' cannot be made \(RuntimeError: channels, kernels"
    with pytest.raises(OptionError, match=message):
        prepared(tmp_path / "dataset", "ConvNCF", align="none", cnn_kernels=[4, 2])


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(-2, 2), st.text(max_size=3),
    st.lists(st.integers(-1, 3), max_size=3), st.dictionaries(st.text(max_size=2), st.integers()),
)  # fmt: skip


@settings(max_examples=200)
@given(st.sampled_from(backbone_names()), st.data())
def test_any_value_is_taken_or_refused_in_one_line(model: str, data: st.DataObject) -> None:
    names = option_names(recbole_model_options(model))
    if not names:
        return
    name, value = data.draw(st.sampled_from(names)), data.draw(VALUES)
    said = ""
    try:
        made = parse_options(recbole_model_options(model), {name: value})
    except OptionError as error:
        said = str(error)
    if said:
        assert name in said
        assert "\n" not in said
    else:
        assert getattr(made, name) in (value, [value])

"""The layers of the settings, their order, and the values that texts stand for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_darec import resources
from recbole_darec.backbones.registry import backbone_class
from recbole_darec.cli.arguments import option_arguments
from recbole_darec.errors import DataError, OptionError
from recbole_darec.resolve import resolve
from recbole_darec.settings.layers import with_conditions
from recbole_darec.settings.run_settings import Settings
from recbole_darec.settings.values import parse_value, read_yaml

# ---- precedence ------------------------------------------------------------------------------

# Each layer as it is called below, the weakest first.
LAYERS = (
    "overall",
    "model",
    "align",
    "dataset",
    "own",
    "preset",
    "file 1",
    "file 2",
    "config_dict",
    "command line",
)


class Layers:
    """A folder of property files and a data set of one's own, all writable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.properties = root / "properties"
        shutil.copytree(resources.properties_dir(), self.properties)
        self.folder = root / "dataset" / "toy"
        self.folder.mkdir(parents=True)
        self.paths = {
            "overall": self.properties / "overall.yaml",
            "model": self.properties / "model" / "LightGCN.yaml",
            "align": self.properties / "align" / "darec.yaml",
            "dataset": self.properties / "dataset" / "toy.yaml",
            "own": self.folder / "toy.yaml",
            "preset": self.properties / "preset" / "trial.yaml",
            "file 1": root / "one.yaml",
            "file 2": root / "two.yaml",
        }

    def write(self, layer: str, options: Mapping[str, Any]) -> None:
        path = self.paths[layer]
        old = read_yaml(path) if path.is_file() else {}
        path.write_text(yaml.safe_dump({**old, **options}), encoding="utf-8")

    def remove(self, key: str) -> None:
        """Take an option out of the property files that we ship."""
        for path in self.properties.rglob("*.yaml"):
            options = read_yaml(path)
            if options.pop(key, None) is not None:
                path.write_text(yaml.safe_dump(options), encoding="utf-8")

    def resolve(
        self,
        config_dict: Mapping[str, Any] | None = None,
        command_line: Mapping[str, Any] | None = None,
        model: Any = "LightGCN",
        dataset: str | None = "toy",
    ) -> Settings:
        files = [str(self.paths[f]) for f in ("file 1", "file 2") if self.paths[f].is_file()]
        base = {"data_path": str(self.root / "dataset")}
        return resolve(model, dataset, files, {**base, **(config_dict or {})}, command_line)


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layers:
    made = Layers(tmp_path)
    monkeypatch.setattr("recbole_darec.settings.layers.properties_dir", lambda: made.properties)
    return made


@pytest.mark.parametrize("strongest", range(len(LAYERS)), ids=LAYERS)
@pytest.mark.parametrize("key", ["train_batch_size", "missing_profile", "n_layers", "n_centers"])
def test_each_layer_wins_over_all_weaker_ones(layers: Layers, strongest: int, key: str) -> None:
    """RecBole's option, one of ours, the backbone's and the aligner's, in every layer."""
    choices = ["error", "mean", "zero"]

    def value(rank: int) -> Any:
        return choices[rank % 3] if key == "missing_profile" else 100 + rank

    given_layers: dict[str, dict[str, Any]] = {
        name: {key: value(rank)} for rank, name in enumerate(LAYERS) if rank <= strongest
    }
    layers.remove(key)
    direct = {name: given_layers.pop(name, {}) for name in ("config_dict", "command line")}
    for name, options in given_layers.items():
        layers.write(name, options)
    if "preset" in given_layers:
        direct["config_dict"]["preset"] = "trial"
    found = layers.resolve(direct["config_dict"], direct["command line"])
    assert found.values[key] == value(strongest)


def test_recboles_own_defaults_are_the_lowest_layer() -> None:
    """What no layer sets stays out of the values, and RecBole's Config fills it in."""
    pytest.importorskip("recbole")
    from recbole_darec.recbole_compat.config import make_config

    found = resolve("LightGCN", "ml-100k", None, None, {"learning_rate": 0.5})
    assert "weight_decay" not in found.values
    config = make_config(found, backbone_class(found.model))
    assert config["weight_decay"] == 0.0  # RecBole's overall.yaml
    assert config["train_batch_size"] == 2048  # properties/overall.yaml
    assert config["topk"] == [5, 10, 20]  # RecBole's is [10]
    assert config["learning_rate"] == 0.5
    assert config["eval_args"]["split"] == {"RS": [3, 1, 1]}  # properties/dataset/ml-100k.yaml
    assert config["align"] == "darec"


def test_recboles_config_reads_neither_argv_nor_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_darec.recbole_compat.config import make_config

    monkeypatch.setattr(sys, "argv", ["pytest", "--learning_rate=7"])
    found = resolve("LightGCN", "ml-100k", None, {"checkpoint_dir": "max"})
    config = make_config(found, backbone_class(found.model))
    assert config["learning_rate"] == found.values["learning_rate"] != 7
    assert config["checkpoint_dir"] == "max"  # RecBole's own Config would eval() it


def test_use_gpu_false_means_the_cpu() -> None:
    from recbole_darec.recbole_compat.config import make_config

    config = make_config(
        resolve("LightGCN", "ml-100k", None, {"use_gpu": False, "gpu_id": 0}),
        backbone_class("LightGCN"),
    )
    assert str(config["device"]) == "cpu"
    assert config["gpu_id"] == ""


def test_the_users_files_may_name_model_data_set_and_aligner(layers: Layers) -> None:
    layers.write("file 1", {"model": "BPR", "dataset": "toy", "align": "darec"})
    layers.write("file 2", {"align": "none"})
    found = layers.resolve(model=None, dataset=None)
    assert (found.model, found.dataset, found.align) == ("BPR", "toy", "none")
    # The argument wins over the file.
    assert layers.resolve(model="lightgcn", dataset=None).model == "LightGCN"
    assert layers.resolve({"model": "NeuMF"}, model=None, dataset=None).model == "NeuMF"
    # ... and the model's own property file is that of the model that counts.
    layers.write("model", {"n_layers": 7})
    assert layers.resolve(model="LightGCN").values["n_layers"] == 7
    assert "n_layers" not in layers.resolve(model=None).values


@pytest.mark.parametrize("layer", ["overall", "model", "dataset", "own", "preset", "file 1"])
def test_any_layer_may_name_the_aligner(layers: Layers, layer: str) -> None:
    layers.write(layer, {"align": "none"})
    if layer != "overall":
        layers.write("overall", {"align": "darec"})
    options = {"preset": "trial"} if layer == "preset" else {}
    assert layers.resolve(options).align == "none"
    assert layers.resolve(options, {"align": "darec"}).align == "darec"


@pytest.mark.parametrize("nothing", [None, False, "none"])
def test_no_aligner_is_none(layers: Layers, nothing: Any) -> None:
    assert layers.resolve(None, {"align": nothing}).align == "none"
    assert layers.resolve({"align": nothing}).align == "none"


def test_a_layer_of_nulls_leaves_names_alone(layers: Layers) -> None:
    layers.write("file 1", {"model": None, "dataset": None, "preset": None})
    layers.write("file 2", {})
    assert layers.resolve().model == "LightGCN"


def test_the_data_sets_own_file_is_looked_for_where_the_data_path_says(
    layers: Layers, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere" / "toy"
    elsewhere.mkdir(parents=True)
    (elsewhere / "toy.yaml").write_text("n_layers: 9\n")
    layers.write("own", {"n_layers": 8})
    assert layers.resolve().values["n_layers"] == 8
    found = layers.resolve(None, {"data_path": str(elsewhere.parent)})
    assert found.values["n_layers"] == 9


def test_a_preset_holds_options_for_some_models_data_sets_and_aligners(layers: Layers) -> None:
    layers.write(
        "preset",
        {
            "n_layers": 2,
            "when": [
                {"model": "LightGCN", "set": {"n_layers": 3}},
                {"model": ["BPR", "NeuMF"], "set": {"n_layers": 4}},
                {"model": "LightGCN", "dataset": "steam", "set": {"n_layers": 5}},
                {"align": "none", "set": {"n_layers": 6}},
            ],
        },
    )
    assert layers.resolve({"preset": "trial"}).values["n_layers"] == 3
    assert layers.resolve({"preset": "trial", "align": "none"}).values["n_layers"] == 6
    assert layers.resolve({"preset": "trial", "n_layers": 1}).values["n_layers"] == 1
    assert "when" not in layers.resolve({"preset": "trial"}).values


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (5, "list of entries"),
        ([5], "'set' mapping"),
        ([{"model": "LightGCN"}], "'set' mapping"),
        ([{"colour": "red", "set": {}}], "not 'colour'"),
        ([{"model": "LightGCN", "set": {"n_layrs": 3}}], "did you mean 'n_layers'"),
    ],
)
def test_a_malformed_condition_is_an_error(layers: Layers, when: Any, words: str) -> None:
    layers.write("file 1", {"when": when})
    with pytest.raises(OptionError, match=r"one\.yaml") as caught:
        layers.resolve()
    assert words in str(caught.value)


def test_the_paper_preset_is_the_papers_protocol() -> None:
    values = resolve("LightGCN", "ml-100k", None, None, {"preset": "paper"}).values
    assert values["eval_mask"] == "train"
    assert (values["embedding_size"], values["n_layers"]) == (32, 3)
    assert (values["layer_aggregation"], values["reg_form"]) == ("sum", "full")
    assert (values["train_batch_size"], values["learning_rate"]) == (4096, 0.001)
    assert (values["eval_step"], values["valid_metric"]) == (3, "Recall@20")


# RLMRec's released settings of its variants: of the backbone, then of the variant; amazon, yelp,
# steam.
RELEASED: dict[tuple[str, str], dict[str, Any]] = {
    ("LightGCN", "rlmrec_con"): {
        "n_layers": (3, 3, 3),
        "reg_weight": (1e-7, 1e-7, 1e-8),
        "kd_weight": (0.01, 0.01, 0.001),
        "kd_temperature": (0.2, 0.2, 0.1),
    },
    ("LightGCN", "rlmrec_gen"): {
        "n_layers": (2, 2, 2),
        "reg_weight": (1e-7, 1e-7, 1e-6),
        "mask_ratio": (0.15, 0.05, 0.15),
        "kd_weight": (0.1, 0.01, 0.1),
        "kd_temperature": (0.5, 0.1, 0.5),
    },
    ("GCCF", "rlmrec_con"): {
        "n_layers": (2, 2, 2),
        "reg_weight": (1e-6, 1e-6, 1e-6),
        "kd_weight": (0.001, 0.001, 0.01),
        "kd_temperature": (0.1, 0.2, 0.5),
    },
    ("GCCF", "rlmrec_gen"): {
        "n_layers": (2, 2, 2),
        "reg_weight": (1e-7, 1e-6, 1e-6),
        "mask_ratio": (0.1, 0.05, 0.1),
        "kd_weight": (0.01, 0.01, 0.01),
        "kd_temperature": (0.1, 1.0, 0.1),
    },
    ("SGL", "rlmrec_con"): {
        "reg_weight": (1e-5, 1e-5, 1e-5),
        "ssl_weight": (0.1, 0.1, 0.1),
        "ssl_tau": (0.2, 0.2, 0.5),
        "kd_weight": (0.01, 0.01, 0.01),
        "kd_temperature": (0.5, 1.0, 1.0),
    },
    ("SGL", "rlmrec_gen"): {
        "reg_weight": (1e-5, 1e-5, 1e-5),
        "ssl_weight": (0.1, 0.1, 0.1),
        "ssl_tau": (0.2, 0.2, 0.5),
        "mask_ratio": (0.2, 0.15, 0.1),
        "kd_weight": (0.1, 0.1, 0.1),
        "kd_temperature": (0.2, 0.2, 0.2),
    },
    ("SimGCL", "rlmrec_con"): {
        "reg_weight": (1e-5, 1e-5, 1e-5),
        "ssl_tau": (0.2, 0.2, 0.5),
        "noise_eps": (0.9, 0.9, 0.2),
        "kd_weight": (0.01, 0.01, 0.01),
        "kd_temperature": (0.2, 0.1, 0.2),
    },
    ("SimGCL", "rlmrec_gen"): {
        "reg_weight": (1e-5, 1e-5, 1e-5),
        "ssl_tau": (0.2, 0.2, 0.5),
        "noise_eps": (0.9, 0.9, 0.2),
        "mask_ratio": (0.05, 0.01, 0.05),
        "kd_weight": (0.1, 0.01, 0.01),
        "kd_temperature": (0.2, 0.05, 0.1),
    },
    ("DCCF", "rlmrec_con"): {
        "n_layers": (2, 2, 3),
        "reg_weight": (1e-4, 1e-4, 1e-3),
        "kd_weight": (0.01, 0.01, 0.01),
        "kd_temperature": (0.5, 0.2, 0.5),
    },
    ("DCCF", "rlmrec_gen"): {
        "n_layers": (2, 2, 3),
        "reg_weight": (1e-4, 1e-4, 1e-3),
        "mask_ratio": (0.05, 0.05, 0.1),
        "kd_weight": (0.1, 0.01, 0.01),
        "kd_temperature": (0.2, 0.1, 0.2),
    },
    ("AutoCF", "rlmrec_con"): {
        "n_layers": (2, 2, 2),
        "reg_weight": (1e-6, 1e-8, 1e-6),
        "ssl_weight": (1.0, 1.0, 0.5),
        "kd_weight": (0.1, 0.01, 0.01),
        "kd_temperature": (0.5, 0.1, 0.2),
    },
    ("AutoCF", "rlmrec_gen"): {
        "n_layers": (2, 2, 2),
        "reg_weight": (1e-6, 1e-8, 1e-6),
        "ssl_weight": (1.0, 1.0, 0.5),
        "mask_ratio": (0.2, 0.2, 0.2),
        "kd_weight": (1.0, 0.1, 1.0),
        "kd_temperature": (0.5, 0.1, 0.2),
    },
}


@pytest.mark.parametrize("place", range(3), ids=["amazon", "yelp", "steam"])
@pytest.mark.parametrize(("model", "align"), RELEASED)
def test_the_paper_preset_trains_rlmrec_as_it_was_released(
    model: str, align: str, place: int
) -> None:
    # The entries alone: a backbone need not be there to be named.
    preset = read_yaml(resources.properties_dir() / "preset" / "paper.yaml")
    dataset = ("amazon", "yelp", "steam")[place]
    here = {"model": model, "dataset": dataset, "align": align}
    found = with_conditions(preset, here, "paper.yaml")
    released = {key: values[place] for key, values in RELEASED[model, align].items()}
    assert {key: found[key] for key in released} == released
    assert found.get("negatives") == ("all" if align == "rlmrec_con" else None)


# ---- unknown options -------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_a_misspelt_option_is_an_error_in_every_layer(layers: Layers, layer: str) -> None:
    wrong = {"n_centres": 5}
    direct: dict[str, dict[str, Any]] = {"config_dict": {}, "command line": {}}
    if layer in direct:
        direct[layer] = dict(wrong)
    else:
        layers.write(layer, wrong)
    if layer == "preset":
        direct["config_dict"]["preset"] = "trial"
    with pytest.raises(OptionError, match="unknown option 'n_centres'") as caught:
        layers.resolve(direct["config_dict"], direct["command line"])
    message = str(caught.value)
    assert "did you mean 'n_centers'?" in message
    where = str(layers.paths[layer]) if layer in layers.paths else layer
    assert where in message


def test_a_file_may_hold_options_of_other_models(layers: Layers) -> None:
    layers.write("file 1", {"mlp_hidden_size": [64], "mf_embedding_size": 8})  # NeuMF's
    assert layers.resolve().model == "LightGCN"
    with pytest.raises(OptionError, match="unknown option 'mf_embedding_size'"):
        layers.resolve(None, {"mf_embedding_size": 8})


def test_with_align_none_the_aligners_options_are_allowed(layers: Layers) -> None:
    assert layers.resolve(None, {"align": "none", "n_centers": 4}).align == "none"


def test_a_class_of_ones_own_keeps_its_options_and_its_aligner(layers: Layers) -> None:
    class LightGCN:
        align_method = None

    class Mine(LightGCN):
        align_method = "darec"

    found = layers.resolve({"my_option": 3}, {"align": "none"}, model=Mine)
    assert found.model_class is Mine
    assert found.align == "darec"
    assert found.values["my_option"] == 3


# ---- missing and refused things --------------------------------------------------------------


@pytest.mark.parametrize(("model", "dataset", "words"), [
    (None, "toy", "--model=LightGCN"),
    ("", "toy", "--model=LightGCN"),
    ("LightGCN", None, "--dataset=NAME"),
    ("LightGCN", "", "--dataset=NAME"),
    ("LightGNC", "toy", "did you mean 'LightGCN'"),
    ("KGAT", "toy", "knowledge-aware"),
    ("LightGCN", "toi", "did you mean 'toy'"),
])  # fmt: skip
def test_model_and_data_set_must_be_there(
    layers: Layers, model: Any, dataset: Any, words: str
) -> None:
    with pytest.raises((OptionError, DataError)) as caught:
        layers.resolve(model=model, dataset=dataset)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "key", ["save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path"]
)
def test_pickled_data_is_refused(layers: Layers, key: str) -> None:
    with pytest.raises(OptionError, match=f"{key} is not supported"):
        layers.resolve(None, {key: "True" if key.endswith("path") else True})
    assert key not in layers.resolve(None, {key: False}).values


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ["Recal"]}, "did you mean 'Recall'"),
        ({"metrics": []}, "list of names"),
        ({"metrics": 5}, "list of names"),
        ({"metrics": None}, "list of names"),
        ({"metrics": ["NDCG"]}, "not among metrics"),
        ({"valid_metric": "Recall"}, "write Recall@20"),
        ({"valid_metric": "Recall@"}, "write Recall@20"),
        ({"valid_metric": "Recall@x"}, "write Recall@20"),
        ({"valid_metric": "Recall@7"}, "add 7 to topk"),
        ({"valid_metric": "Recal@20"}, "did you mean 'Recall'"),
        ({"valid_metric": None}, "Recall@20"),
        ({"metrics": ["GAUC"], "valid_metric": "GAUC@10"}, "write GAUC"),
        ({"topk": []}, "no cut-off"),
        ({"topk": [0, 20]}, "at least 1"),
        ({"topk": None}, "list of int"),
        ({"learner": "adm"}, "did you mean 'adam'"),
        ({"eval_args": 5}, "dict"),
        ({"eval_args": {"splitt": {}}}, "did you mean 'split'"),
        ({"eval_args": {"split": {"RS": [8, 2]}}}, "training, validation and test"),
        ({"eval_args": {"split": {"RS": [8, -1, 1]}}}, "training, validation and test"),
        ({"eval_args": {"split": {"RS": ["8", 1, 1]}}}, "training, validation and test"),
        ({"eval_args": {"split": {"LS": "all"}}}, "valid_and_test"),
        ({"eval_args": {"split": "RS"}}, "valid_and_test"),
        ({"eval_args": {"order": "XX"}}, "RO"),
        ({"eval_args": {"group_by": "item"}}, "user or none"),
        ({"model": ["LightGCN"]}, "must be a name"),
    ],
)
def test_recboles_options_are_checked_where_it_would_fail_late(
    layers: Layers, options: dict[str, Any], words: str
) -> None:
    model = None if "model" in options else "LightGCN"
    with pytest.raises(OptionError) as caught:
        layers.resolve(None, options, model=model)
    assert words in str(caught.value)


def test_what_recbole_permits_is_permitted(layers: Layers) -> None:
    found = layers.resolve(
        None,
        {
            "metrics": "GAUC",
            "valid_metric": "gauc",
            "topk": 10,
            "learner": "AdamW",
            "gpu_id": [0, 1],
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": None},
            "clip_grad_norm": {"max_norm": 1.0},
            "load_col": None,
        },
    )
    assert found.values["metrics"] == ["GAUC"]
    assert found.values["topk"] == [10]
    assert found.values["gpu_id"] == "0,1"
    assert found.values["learner"] == "adamw"


# ---- texts and values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("~", None),
        ("[5,10]", [5, 10]),
        ("5,10", [5, 10]),
        ("(5, 10)", [5, 10]),
        ("[[1,(2,3)]]", [[1, [2, 3]]]),
        ("[]", []),
        ("['Recall','NDCG']", ["Recall", "NDCG"]),
        ("[Recall, NDCG]", ["Recall", "NDCG"]),
        ("{'split': {'RS':[8,1,1]}}", {"split": {"RS": [8, 1, 1]}}),
        ("{split: {RS: [8,1,1]}, order: RO}", {"split": {"RS": [8, 1, 1]}, "order": "RO"}),
        ("'quoted'", "quoted"),
        ("all", "all"),
        ("Recall@20", "Recall@20"),
        ("a/b.yaml", "a/b.yaml"),
        ("", ""),
        ("nan", "nan"),
        ("[1,", "[1,"),
        ("{1,2}", "{1,2}"),
        ("b'x'", "b'x'"),
        ("3j", "3j"),
        ("__import__('os').getpid()", "__import__('os').getpid()"),
        ("2020-13-45", "2020-13-45"),
        ("{a: 2020-13-45}", {"a": "2020-13-45"}),
    ],
)
def test_a_text_of_the_command_line_stands_for_a_value(text: str, value: Any) -> None:
    if text == "{1,2}":  # YAML reads a mapping of nulls, as RecBole's own files would
        value = {1: None, 2: None}
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_a_backslash_in_quotes_is_read_without_pythons_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_value(r"'\d'") == r"\d"


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(_plain)
def test_a_values_own_text_is_that_value(value: Any) -> None:
    assert parse_value(repr(value)) == value


@given(st.text(max_size=40))
def test_any_text_is_read_as_plain_values(text: str) -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, list):
            return all(map(plain, value))
        if isinstance(value, dict):
            return all(map(plain, value.values()))
        return value is None or isinstance(value, (bool, int, float, str))

    assert plain(parse_value(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("5", 5),
        ("1.", 1.0),
        ("-1e-3", -1e-3),
        (".inf", float("inf")),
        ("True", True),
        ("~", None),
        ("1e", "1e"),
        ("e5", "e5"),
        ("2020-11-01", "2020-11-01"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_numbers_in_yaml_are_read_as_recbole_reads_them(
    tmp_path: Path, text: str, value: Any
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"key: {text}\n")
    found = read_yaml(path)["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- a\n- b\n", "holds a list"),
        (b"just text\n", "holds a str"),
        (b"a: [1,\nb: 2\n", "line 3"),
        (b"a: b: c\n", "line 1"),
        (b"\ta: 1\n", "line 1"),
        (b"a: !!set {b, c}\n", "a holds a set"),
        (b"a: !!timestamp 2020-13-45\n", "not valid YAML"),
        (b"a: !!python/object/apply:os.getpid []\n", "not valid YAML"),
        (b"a: \xff\n", "cannot be read"),
        (b"a: *nowhere\n", "not valid YAML"),
        (b"a: " + b"[" * 5000, "not valid YAML"),
    ],
)
def test_a_malformed_yaml_is_an_error_that_names_the_file(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"bad\.yaml") as caught:
        read_yaml(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_yaml_holds_no_options(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}
    with pytest.raises(OptionError, match="does not exist"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(OptionError, match="cannot be read"):
        read_yaml(tmp_path)


def test_hyper_tuning_may_give_numpy_values_and_texts(layers: Layers) -> None:
    found = layers.resolve(
        {
            "learning_rate": np.float64(0.01),
            "n_layers": np.int64(2),
            "topk": np.array([5, 20]),
            "align_mlp_hidden": "[32,16]",
            "n_centers": "4",
            "checkpoint_dir": Path("saved"),
            "metrics": ("Recall", "NDCG"),
        }
    ).values
    assert found["learning_rate"] == 0.01
    assert type(found["learning_rate"]) is float
    assert type(found["n_layers"]) is int
    assert found["topk"] == [5, 20]
    assert found["align_mlp_hidden"] == [32, 16]
    assert found["n_centers"] == 4
    assert found["checkpoint_dir"] == "saved"
    with pytest.raises(OptionError, match="give plain values"):
        layers.resolve({"learning_rate": object()})


# ---- arguments -------------------------------------------------------------------------------


def test_options_are_given_with_or_without_an_equals_sign() -> None:
    assert option_arguments(["--a=1", "--b", "x", "--c=[1,2]", "--d="]) == {
        "a": 1,
        "b": "x",
        "c": [1, 2],
        "d": "",
    }
    assert option_arguments(["--a=1", "--a=1"]) == {"a": 1}
    assert option_arguments(["--a", "-1"]) == {"a": -1}
    assert option_arguments(["--a=b=c"]) == {"a": "b=c"}


def test_a_switch_may_stand_alone() -> None:
    assert option_arguments(["--diagnostics", "--a=1"]) == {"diagnostics": True, "a": 1}
    assert option_arguments(["--diagnostics"]) == {"diagnostics": True}
    assert option_arguments(["--diagnostics=False"]) == {"diagnostics": False}
    assert option_arguments(["--diagnostics", "false"]) == {"diagnostics": False}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--a"], "--a has no value"),
        (["--a", "--b=1"], "--a has no value"),
        (["a=1"], "'a=1' is not of the form"),
        (["-a", "1"], "'-a' is not of the form"),
        (["--", "1"], "not of the form"),
        (["--=1"], "not of the form"),
        (["--a=1", "--a=2"], "given twice, as 1 and 2"),
        (["--a=1", "--a=True"], "given twice"),
    ],
)
def test_malformed_arguments_are_errors(arguments: list[str], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        option_arguments(arguments)
    assert words in str(caught.value)


# ---- nothing heavy ---------------------------------------------------------------------------


def test_resolving_imports_neither_torch_nor_recbole() -> None:
    code = (
        "import sys\n"
        "from recbole_darec.resolve import resolve\n"
        "resolve('LightGCN', 'ml-100k', None, {'preset': 'paper'}, {'align': 'darec'})\n"
        "heavy = {'torch', 'recbole', 'pandas', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = str(Path(resources.__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

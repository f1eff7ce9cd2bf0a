"""Every option that RecBole reads does what RecBole says, or ends in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recbole.evaluator.register import smaller_metrics

from recbole_darec import run_recbole_darec
from recbole_darec.environment import recbole_dir
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.settings.effects import FOR_SEQUENCES, REFUSED, SMALLER, WITH_KNOWLEDGE
from recbole_darec.settings.recbole_options import recbole_keys
from recbole_darec.testing.tiny_runs import options, prepared

BY_RECBOLE = {
    "the configuration's names": "model dataset seed reproducibility state show_progress",
    "files that are read and how": (
        "data_path encoding field_separator seq_separator seq_len load_col unload_col unused_col "
        "additional_feat_suffix benchmark_filename numerical_features preload_weight"
    ),
    "names of columns": (
        "USER_ID_FIELD ITEM_ID_FIELD RATING_FIELD TIME_FIELD LABEL_FIELD NEG_PREFIX "
        "alias_of_user_id alias_of_item_id"
    ),
    "filters and changes of the data": (
        "rm_dup_inter val_interval filter_inter_by_user_or_item user_inter_num_interval "
        "item_inter_num_interval threshold normalize_field normalize_all discretization"
    ),
    "the training": (
        "epochs train_batch_size learner learning_rate weight_decay clip_grad_norm shuffle worker "
        "enable_amp enable_scaler train_neg_sample_args gpu_id use_gpu"
    ),
    "the evaluation": "eval_args metrics topk valid_metric eval_step stopping_step tail_ratio",
}
HERE = {
    "checkpoint_dir": "the folder of our checkpoints",
    "loss_decimal_place": "digits of the losses in our log",
    "metric_decimal_place": "rounds metrics where it is given; RecBole's default is 4",
    "repeatable": "nothing is masked in the ranking",
    "eval_batch_size": "where candidates are sampled; a log line says so where all are ranked",
    "valid_metric_bigger": "must be what the metric says",
    "nproc": "processes that train one model, RecBole's run(nproc=…)",
    "world_size": "those of all machines",
    "group_offset": "those of the machines before",
    "ip": "where they meet",
    "port": "where they meet; null takes a free one, RecBole's is 5678",
    "log_wandb": "Weights & Biases, whose package is named where it is missing",
    "wandb_project": "its project",
}
OF_MODELS = {"embedding_size", "loss_type", "n_layers", "reg_weight", "require_pow"}
PICKLES = {"save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path"}


def test_the_list_is_whole() -> None:
    listed = [name for names in BY_RECBOLE.values() for name in names.split()]
    groups = [
        set(listed),
        set(HERE),
        set(REFUSED),
        FOR_SEQUENCES,
        WITH_KNOWLEDGE,
        OF_MODELS,
        PICKLES,
    ]
    assert len(listed) == len(set(listed))
    assert sum(map(len, groups)) == len(set().union(*groups)), "an option stands twice"
    assert set().union(*groups) == recbole_keys()


def test_what_recbole_reads_of_its_configuration_is_known() -> None:
    # Read for one kind of model alone, and known where such a model runs.
    special = [
        "save_step",
        "pretrain_epochs",
        "train_rec_step",
        "train_kg_step",
        "xgb_model",
        "xgb_params",
        "xgb_num_boost_round",
        "xgb_early_stopping_rounds",
        "xgb_verbose_eval",
        "lgb_params",
        "lgb_num_boost_round",
        "convert_token_to_onehot",
        "token_num_threshold",
        "k",
        "history_len",
        "MASK_ITEM_SEQ",
        "POS_ITEMS",
        "NEG_ITEMS",
        "MASK_INDEX",
        "mask_ratio",
        "ft_ratio",
        "m_step",
        "anneal_steps",
        "train_stage",
        "n_enc_epochs",
        "n_dec_epochs",
        "warm_up_step",
        "REORDER_ITEM_SEQ",
        "CROP_ITEM_SEQ",
        "CROP_ITEM_SEQ_LEN",
        "gamma",
        "beta",
        "num_m_step",
        "train_method",
        "valid_neg_sample_args",
        "test_neg_sample_args",
        "INVERSE_ITEM_SEQ",
        "kge_interval",
        "build_graph_separately",
        "xgb_nthread",
        "xgb_silent",
        "eta",
        "split_to",
    ]
    found: set[str] = set()
    for folder in ("config", "data", "trainer", "evaluator", "sampler", "utils"):
        for path in (recbole_dir() / folder).rglob("*.py"):
            found |= set(re.findall(r"""config\[["'](\w+)["']\]""", path.read_text("utf-8")))
    assert found - {*special} - recbole_keys() == set()


def test_the_metrics_of_which_less_is_better_are_recboles() -> None:
    assert set(smaller_metrics) == SMALLER


def resolved(**given: Any) -> Any:
    return resolve("BPR", "ml-100k", None, {"align": "none", **given})


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_has_no_effect_is_refused(key: str) -> None:
    with pytest.raises(OptionError, match=rf"{key}=.* has no effect here"):
        resolved(**{key: "something else"})
    for harmless in REFUSED[key][0]:
        resolved(**{key: harmless})


@pytest.mark.parametrize("key", sorted(FOR_SEQUENCES | WITH_KNOWLEDGE))
def test_what_other_families_read_is_refused(key: str) -> None:
    with pytest.raises(OptionError, match=f"'{key}' on config_dict belongs to .* models"):
        resolved(**{key: 3})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user_inter_num_interval": "[5,inf"}, r"user_inter_num_interval=\[5,inf is no interval"),
        ({"item_inter_num_interval": "[9,2]"}, "an empty interval: its ends are 9 and 2"),
        ({"item_inter_num_interval": "(3,3]"}, "an empty interval"),
        ({"val_interval": {"rating": "3,inf)"}}, "val_interval: rating=3,inf"),
        ({"val_interval": {"rating": "[a,b]"}}, "is no interval"),
        ({"val_interval": "[3,inf)"}, "must name fields"),
        ({"valid_metric_bigger": False}, "of recall more is better"),
        ({"tail_ratio": -1}, "tail_ratio=-1 must be"),
        ({"eval_args": {"mode": "labeled"}}, "Recall is of ranked lists|ranked lists"),
    ],
)
def test_what_recbole_would_misread_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolved(**given)


@pytest.mark.parametrize("text", ["[5,inf)", "(0, 5]; [7,9)", "[3,3]", "[-inf,2)"])
def test_intervals_are_read(text: str) -> None:
    resolved(user_inter_num_interval=text, val_interval={"rating": text})


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None if name == "wandb" else 1)
    with pytest.raises(OptionError, match="log_wandb=True needs the package 'wandb': pip install"):
        resolved(log_wandb=True)


def test_an_option_of_other_models_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    resolved(n_layers=3, embedding_size=8)
    assert caplog.messages == ["option 'n_layers' has no effect: BPR does not read it"]


# ---- options that had no effect --------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "align", "wanted"),
    [
        ("LightGCN", "none", "pairs"),
        ("LightGCN", "darec", "pairs"),
        ("NCL", "none", "pairs"),  # has no clusters yet where it is asked
        ("NeuMF", "none", "labels, and the data set has no column 'label'"),
        ("FISM", "none", "labels"),
    ],
)
def test_a_model_of_pairs_or_labels_needs_negatives(
    model: str, align: str, wanted: str, tiny_dataset: object, tmp_path: Path
) -> None:
    message = f"train_neg_sample_args=None: the model '{model}' learns from {wanted}"
    with pytest.raises(OptionError, match=message):
        prepared(tmp_path / "dataset", model, align=align, train_neg_sample_args=None)


@pytest.mark.parametrize("model", ["MultiVAE", "RecVAE"])
def test_a_model_of_whole_histories_needs_none(
    model: str, tiny_dataset: object, tmp_path: Path
) -> None:
    prepared(tmp_path / "dataset", model, align="none", train_neg_sample_args=None)


def test_a_repeatable_scene_masks_nothing(tiny_dataset: object, tmp_path: Path) -> None:
    run = prepared(tmp_path / "dataset", align="none", repeatable=True)
    for loader in (run.valid_data, run.test_data):
        for _, (rows, items), *_ in loader:
            assert len(rows) == len(items) == 0
    assert len(prepared(tmp_path / "dataset", align="none").test_data.history.items)


@pytest.mark.parametrize("digits", [None, 2])
def test_metrics_are_rounded_where_it_is_asked(
    digits: int | None, tiny_dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = options(tmp_path / "dataset", align="none", epochs=1)
    given = {name: value for name, value in given.items() if not name.startswith("align_")}
    if digits is not None:
        given["metric_decimal_place"] = digits
    values = np.array(
        list(run_recbole_darec("LightGCN", "tiny", None, given)["test_result"].values())
    )
    assert np.array_equal(values, values.round(2)) == (digits == 2)


def test_a_tail_is_counted_as_asked(
    tiny_dataset: object, tmp_path: Path, make_tiny: Callable[[Path], object]
) -> None:
    found = []
    for ratio in (0.1, 0.9):
        run = prepared(
            tmp_path / "dataset", align="none", tail_ratio=ratio, metrics=["TailPercentage"],
            valid_metric="TailPercentage@10",
        )  # fmt: skip
        from recbole_darec.evaluation.ranking import evaluate

        found.append(evaluate(run.config, run.model, run.train_data, run.test_data))
    assert found[0]["tailpercentage@10"] < found[1]["tailpercentage@10"]


def test_whose_option_it_is_names_every_model_that_has_it() -> None:
    for model, key, value, owners in (
        ("TextFilter", "rank_loss", "softmax", "sequential models, LightGCN and SimGCL"),
        ("LightGCN", "low_pass_weight", 0.1, "GFCF"),
    ):
        with pytest.raises(OptionError, match=f"'{key}' on config_dict belongs to {owners}, not"):
            resolve(model, "ml-100k", None, {"align": "none", key: value})

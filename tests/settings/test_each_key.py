"""Each option that RecBole reads changes what RecBole says that it changes, in a run of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_darec import run_recbole_darec
from recbole_darec.errors import UserError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare
from recbole_darec.testing.tiny_runs import parameters

from .test_effects import BY_RECBOLE

PLAIN = {
    "align": "none",
    "embedding_size": 4,
    "n_layers": 1,
    "train_batch_size": 64,
    "topk": [3, 5],
    "metrics": ["Recall", "NDCG"],
    "valid_metric": "Recall@5",
    "epochs": 1,
    "load_col": None,
    "eval_args": {"split": {"RS": [3, 1, 1]}, "order": "RO", "group_by": "user", "mode": "full"},
    "show_progress": False,
    "state": "INFO",
}
USERS, ITEMS = 30, 12


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set with every kind of column: ``wild``, and ``other`` beside it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dataset" / "wild", "wild")
    write(tmp_path / "dataset" / "other", "other", seed=1)
    return tmp_path


def write(
    folder: Path, name: str, seed: int = 0, separator: str = "\t", between: str = " "
) -> None:
    rng = np.random.RandomState(seed)
    folder.mkdir(parents=True)
    tables: dict[str, list[list[str]]] = {
        "inter": [["user_id:token", "item_id:token", "rating:float", "timestamp:float"]],
        "item": [["item_id:token", "words:token_seq", "price:float", "near:token"]],
        "user": [["user_id:token", "age:float", "friend:token"]],
        "vec": [["vid:token", "vector:float_seq"]],
    }
    for user in range(USERS):
        for place, item in enumerate(rng.choice(ITEMS, rng.randint(6, 9), replace=False)):
            row = [f"u{user}", f"i{item}", str(rng.randint(1, 6)), str(100 * user + place)]
            tables["inter"] += [row, row] if user == 1 and place == 0 else [row]
        if user:  # u0 has no row of its own
            tables["user"].append([f"u{user}", str(20 + user), f"u{(user + 1) % USERS}"])
    for item in range(ITEMS):
        words = between.join(f"w{n}" for n in range(2 + item % 3))
        tables["item"].append([f"i{item}", words, str(item / 2), f"i{(item + 1) % ITEMS}"])
        tables["vec"].append([f"i{item}", between.join(str(n + item) for n in range(4))])
    for suffix, rows in tables.items():
        text = "".join(separator.join(row) + "\n" for row in rows)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")


def run(model: str = "LightGCN", dataset: str = "wild", **given: Any) -> Prepared:
    # Without null a property file below says what is read; None leaves RecBole's default.
    return prepare(resolve(model, dataset, None, {**PLAIN, "data_path": "dataset", **given}))


def interactions(found: Prepared) -> int:
    return len(found.dataset.inter_feat)


def column(name: str, feat: str = "item_feat") -> Callable[[Prepared], Any]:
    def values(found: Prepared) -> Any:
        return getattr(found.dataset, feat)[name].numpy().tolist()

    return values


def columns(found: Prepared) -> dict[str, list[str]]:
    dataset = found.dataset
    return {name: list(getattr(dataset, name).columns) for name in dataset.feat_name_list}


def trained(found: Prepared) -> Any:
    """The parameters after an epoch."""
    from recbole_darec.run import make_trainer

    make_trainer(found).fit(found.train_data, found.valid_data, saved=False, verbose=False)
    return {name: value.tolist() for name, value in parameters(found.model).items()}


def batches(found: Prepared) -> Any:
    return [{k: v.tolist() for k, v in b.interaction.items()} for b in found.train_data]


def metrics(found: Prepared) -> Any:
    from recbole_darec.evaluation.ranking import evaluate

    return dict(evaluate(found.config, found.model, found.train_data, found.test_data))


def held_out(found: Prepared) -> Any:
    return found.test_data.dataset.inter_feat["item_id"].tolist()


def epochs_run(found: Prepared) -> Any:
    from recbole_darec.run import make_trainer

    seen: list[int] = []
    make_trainer(found).fit(
        found.train_data,
        found.valid_data,
        saved=False,
        verbose=False,
        callback_fn=lambda epoch, _: seen.append(epoch),
    )
    return seen


TEXT = {"load_col": {"inter": "*", "item": "*", "user": "*"}}
NUMBERS = {**TEXT, "numerical_features": ["price"]}

# option: what is observed, what both runs are given, what the second has beside it
CHANGES: dict[str, tuple[Callable[[Prepared], Any], Mapping[str, Any], Mapping[str, Any]]] = {
    "seed": (trained, {}, {"seed": 7}),
    "reproducibility": (
        lambda _: torch.backends.cudnn.deterministic,
        {},
        {"reproducibility": False},
    ),
    "seq_len": (column("words"), TEXT, {"seq_len": {"words": 1}}),
    "load_col": (columns, {}, {"load_col": {"inter": ["user_id", "item_id"]}}),
    "unload_col": (columns, {}, {"unload_col": {"inter": ["rating"]}}),
    "unused_col": (batches, {}, {"unused_col": {"inter": ["rating"]}}),
    "additional_feat_suffix": (
        columns,
        {},
        {"additional_feat_suffix": ["vec"], "alias_of_item_id": ["vid"]},
    ),
    "numerical_features": (lambda r: r.dataset.num("price"), TEXT, NUMBERS),
    "discretization": (
        column("price"),
        NUMBERS,
        {"discretization": {"price": {"method": "ED", "bucket": 2}}},
    ),
    "preload_weight": (
        lambda r: getattr(r.dataset, "_preloaded_weight", {}).keys(),
        {"additional_feat_suffix": ["vec"], "alias_of_item_id": ["vid"]},
        {"preload_weight": {"vid": "vector"}},
    ),
    "RATING_FIELD": (
        lambda r: r.dataset.history_item_matrix(value_field=r.config["RATING_FIELD"])[1].tolist(),
        {},
        {"RATING_FIELD": "timestamp"},
    ),
    "LABEL_FIELD": (
        lambda r: sorted(batches(r)[0]),
        {"model": "NeuMF"},
        {"LABEL_FIELD": "liked"},
    ),
    "NEG_PREFIX": (lambda r: sorted(batches(r)[0]), {}, {"NEG_PREFIX": "not_"}),
    "alias_of_user_id": (lambda r: r.dataset.num("friend"), TEXT, {"alias_of_user_id": ["friend"]}),
    "alias_of_item_id": (column("near"), TEXT, {"alias_of_item_id": ["near"]}),
    "rm_dup_inter": (interactions, {}, {"rm_dup_inter": "first"}),
    "val_interval": (interactions, {}, {"val_interval": {"rating": "[3,inf)"}}),
    "filter_inter_by_user_or_item": (
        interactions,
        TEXT,
        {"filter_inter_by_user_or_item": False},
    ),
    "user_inter_num_interval": (interactions, {}, {"user_inter_num_interval": "[7,inf)"}),
    "item_inter_num_interval": (interactions, {}, {"item_inter_num_interval": "[0,18]"}),
    "threshold": (
        lambda r: r.dataset.inter_feat["label"].tolist(),
        {
            "eval_args": {**PLAIN["eval_args"], "mode": "labeled"},
            "metrics": ["AUC"],
            "valid_metric": "AUC",
            "model": "NeuMF",
            "train_neg_sample_args": None,
            "LABEL_FIELD": "label",
            "threshold": {"rating": 5},
        },
        {"threshold": {"rating": 3}},
    ),
    "normalize_field": (column("price"), TEXT, {"normalize_field": ["price"]}),
    "normalize_all": (column("age", "user_feat"), TEXT, {"normalize_all": True}),
    "epochs": (epochs_run, {}, {"epochs": 2}),
    "train_batch_size": (lambda r: len(batches(r)), {}, {"train_batch_size": 16}),
    "learner": (trained, {}, {"learner": "sgd"}),
    "learning_rate": (trained, {}, {"learning_rate": 0.1}),
    "weight_decay": (trained, {}, {"weight_decay": 0.1}),
    "clip_grad_norm": (trained, {"learner": "sgd"}, {"clip_grad_norm": {"max_norm": 1e-3}}),
    "shuffle": (batches, {}, {"shuffle": False}),
    "worker": (lambda r: r.train_data.num_workers, {}, {"worker": 1}),
    "enable_amp": (trained, {"model": "NeuMF"}, {"enable_amp": True}),
    "train_neg_sample_args": (
        batches,
        {},
        {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 1}},
    ),
    "eval_args": (held_out, {}, {"eval_args": {**PLAIN["eval_args"], "order": "TO"}}),
    "metrics": (metrics, {}, {"metrics": ["Recall", "MRR"]}),
    "topk": (metrics, {}, {"topk": [5, 7]}),
    "valid_metric": (
        lambda r: r.config["valid_metric"] + str(epochs_best(r)),
        {},
        {"valid_metric": "NDCG@3"},
    ),
    "eval_step": (epochs_run, {"epochs": 4}, {"eval_step": 2}),
    "stopping_step": (epochs_run, {"epochs": 30, "learning_rate": 0.5}, {"stopping_step": 1}),
}
# Seen in tests of their own, below or elsewhere.
ELSEWHERE = {
    "model": "what every contract test names",
    "dataset": "test_names_of_files_and_columns",
    "data_path": "test_names_of_files_and_columns",
    "encoding": "test_names_of_files_and_columns",
    "field_separator": "test_names_of_files_and_columns",
    "seq_separator": "test_names_of_files_and_columns",
    "benchmark_filename": "test_names_of_files_and_columns",
    "USER_ID_FIELD": "test_names_of_files_and_columns",
    "ITEM_ID_FIELD": "test_names_of_files_and_columns",
    "TIME_FIELD": "test_names_of_files_and_columns",
    "state": "test_the_log_and_the_bar",
    "show_progress": "test_the_log_and_the_bar",
    "enable_scaler": "test_what_the_machine_lacks_is_said",
    "gpu_id": "test_what_the_machine_lacks_is_said",
    "use_gpu": "test_what_the_machine_lacks_is_said",
    "tail_ratio": "test_effects.test_a_tail_is_counted_as_asked",
}


def epochs_best(found: Prepared) -> Any:
    from recbole_darec.run import make_trainer

    trainer = make_trainer(found)
    score, _ = trainer.fit(found.train_data, found.valid_data, saved=False, verbose=False)
    return score


def test_each_is_shown() -> None:
    listed = {name for names in BY_RECBOLE.values() for name in names.split()}
    assert set(CHANGES) | set(ELSEWHERE) == listed
    assert not set(CHANGES) & set(ELSEWHERE)


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_it_changes_what_it_says(key: str) -> None:
    observe, both, changed = CHANGES[key]
    given = dict(both)
    model = given.pop("model", "LightGCN")
    before, again = (observe(run(model, **given)) for _ in range(2))
    after = observe(run(model, **{**given, **changed}))
    assert before == again, "what is observed is not the option's"
    assert before != after


def test_names_of_files_and_columns(folder: Path) -> None:
    plain = run(**TEXT)
    other = run(dataset="other", **TEXT)
    assert other.dataset.dataset_name == "other"
    assert held_out(plain) != held_out(other)
    home = folder / "elsewhere" / "wild"
    write(home, "wild", separator=";", between=",")
    moved = {"data_path": "elsewhere", "field_separator": ";", "seq_separator": ","}
    assert column("words")(run(**TEXT, **moved)) == column("words")(plain)
    for path in home.iterdir():
        path.write_text(path.read_text("utf-8").replace("u1;", "\u00fc;"), encoding="latin-1")
    assert "\u00fc" in run(**TEXT, **moved, encoding="latin-1").dataset.field2token_id["user_id"]
    inter = folder / "dataset" / "wild" / "wild.inter"
    text = inter.read_text("utf-8")
    head, *lines = text.splitlines(keepends=True)
    for name, part in (("a", lines[:100]), ("b", lines[100:150]), ("c", lines[150:])):
        (inter.parent / f"wild.{name}.inter").write_text(head + "".join(part), encoding="utf-8")
    fixed = run(benchmark_filename=["a", "b", "c"], filter_inter_by_user_or_item=False)
    assert len(fixed.test_data.dataset.inter_feat) == len(lines) - 150
    for part in ("inter", "user", "item"):
        path = inter.with_suffix(f".{part}")
        text = path.read_text("utf-8")
        for old, new in (("user_id", "who"), ("item_id", "what"), ("timestamp", "when")):
            text = text.replace(f"{old}:", f"{new}:")
        path.write_text(text, encoding="utf-8")
    named = {"USER_ID_FIELD": "who", "ITEM_ID_FIELD": "what", "TIME_FIELD": "when"}
    by_time = {"eval_args": {**PLAIN["eval_args"], "order": "TO"}}
    found = run(**named, **by_time)
    assert (found.model.USER_ID, found.model.ITEM_ID) == ("who", "what")
    latest = found.test_data.dataset.inter_feat["when"].min()
    assert latest > 0


def test_columns_of_other_names_are_read_without_load_col(folder: Path) -> None:
    path = folder / "dataset" / "wild" / "wild.inter"
    path.write_text(path.read_text("utf-8").replace("user_id:", "session_id:"), encoding="utf-8")
    given = {name: value for name, value in PLAIN.items() if name != "load_col"}
    given |= {"data_path": "dataset", "USER_ID_FIELD": "session_id"}
    assert prepare(resolve("LightGCN", "wild", None, given)).dataset.user_num == USERS + 1


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Leave the root logger as it was: RecBole sets its level and its handlers."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize(("state", "lines"), [("INFO", True), ("ERROR", False)])
def test_the_log_and_the_bar(
    state: str, lines: bool, capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    given = {**PLAIN, "data_path": "dataset", "state": state, "show_progress": lines}
    run_recbole_darec("LightGCN", "wild", None, given)
    shown = capfd.readouterr()
    assert ("epoch 0 training" in shown.out + shown.err) == lines
    assert ("Train     0" in shown.err) == lines


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_the_machine_lacks_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(gpu_id=9, enable_amp=True, enable_scaler=True)
    assert [text.partition(":")[0].partition(" has")[0] for text in caplog.messages] == [
        "gpu_id=9",
        "enable_scaler",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        run(gpu_id=9, use_gpu=False)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoding": "nonsense"}, "encoding=nonsense is none that Python knows"),
        ({"encoding": "rot13"}, "encoding=rot13 is none that Python knows"),
        ({"encoding": ""}, "encoding= is none that Python knows"),
        ({"log_wandb": "maybe"}, "log_wandb='maybe' is not a bool"),
        ({"load_col": "user_id"}, "load_col='user_id' is not a dict"),
        ({"load_col": {"inter": "user_id"}}, "load_col: inter='user_id' must list columns"),
        ({"load_col": {"inter": ["user_id", "itm_id"]}}, r"no column 'itm_id' \(did you mean 'it"),
        ({"load_col": {"inter": "*", "usr": ["age"]}}, "no file 'wild.usr' is read .*'user'"),
        ({"load_col": {"inter": "*", "user": ["agee"]}}, "wild.user' has no column 'agee'"),
        ({"unload_col": {"inter": ["nope"]}}, "unload_col: .* has no column 'nope'"),
        ({"unused_col": {"inter": ["nope"]}}, "unused_col: the .inter file has no column 'nope'"),
        ({"unused_col": {"vec": ["vid"]}}, "unused_col: no file ends in .vec"),
        ({"alias_of_user_id": ["nope"]}, "alias_of_user_id: the data set has no column 'nope'"),
        ({"alias_of_item_id": ["price"]}, "'price' as float, and only token or token_seq"),
        ({"seq_len": {"nope": 3}}, "seq_len: the data set has no column 'nope'"),
        ({"seq_len": {"price": 3}}, "'price' as float, and only token_seq or float_seq"),
        ({"seq_len": {"words": 0}}, "seq_len=.* must be at least 1"),
        ({"normalize_field": ["nope"]}, "normalize_field: the data set has no column 'nope'"),
        ({"normalize_field": ["words"]}, "'words' as token_seq, and only float"),
        ({"normalize_field": ["price"], "normalize_all": True}, "exclude each other"),
        ({"numerical_features": ["nope"]}, "numerical_features: .* no column 'nope'"),
        ({"discretization": {"nope": {"method": "LD"}}}, "discretization: .* no column 'nope'"),
        ({"preload_weight": {"nope": "price"}}, "preload_weight: .* no column 'nope'"),
        ({"additional_feat_suffix": ["vec"]}, "column 'vid' holds ids or words"),
        ({"threshold": {"rating": 3}}, "LightGCN takes every interaction for a positive one"),
        ({"threshold": {"rating": 3, "timestamp": 2}}, "threshold=.* must name one column"),
        ({"enable_scaler": True}, "give enable_amp=True too"),
        ({"cold_items": 0.1, "profile_components": 4}, "leave one of them out"),
        ({"metrics": ["AUC"], "valid_metric": "AUC"}, "AUC is of labelled pairs, and .* ranks all"),
        (
            {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"order": "RO"}},
            "AUC is of labelled pairs, and .* ranks all",
        ),
    ],
)
def test_a_name_or_value_that_would_do_nothing_is_one_line(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(**given)

"""One run: splits that a seed does not move, loaders, devices, and what it leaves on the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import options, outcome, prepared

from recbole_darec import run_recbole_darec
from recbole_darec.backbones.registry import backbone_class
from recbole_darec.errors import CheckpointError, OptionError
from recbole_darec.evaluation.all_rank import AllRankLoader
from recbole_darec.resolve import resolve
from recbole_darec.run import prepare


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


@pytest.fixture
def unsplit(data_path: Path) -> Path:
    """The tiny data set as one file, for a ratio split."""
    folder = data_path / "tiny"
    lines: list[str] = []
    for part in ("train", "valid", "test"):
        header, *rows = (folder / f"tiny.{part}.inter").read_text().splitlines(keepends=True)
        lines += rows
    (folder / "tiny.inter").write_text(header + "".join(lines))
    yaml = folder / "tiny.yaml"
    yaml.write_text(
        "\n".join(x for x in yaml.read_text().splitlines() if "benchmark_filename" not in x)
        + "\neval_args: {split: {'RS': [3, 1, 1]}, group_by: user, order: RO, mode: full}\n"
    )
    return data_path


def parts_of(run: Any) -> list[set[tuple[str, str]]]:
    dataset = run.dataset
    users = dataset.field2id_token[dataset.uid_field]
    items = dataset.field2id_token[dataset.iid_field]
    found = []
    for loader in (run.train_data, run.valid_data, run.test_data):
        frame = loader._dataset.inter_feat
        pairs = zip(frame[dataset.uid_field].tolist(), frame[dataset.iid_field].tolist())
        found.append({(users[user], items[item]) for user, item in pairs})
    return found


# ---- splits -----------------------------------------------------------------------------------


def test_the_fixed_files_are_the_parts(data_path: Path) -> None:
    parts = parts_of(prepared(data_path, align="none"))
    for part, name in zip(parts, ("train", "valid", "test")):
        lines = (data_path / "tiny" / f"tiny.{name}.inter").read_text().splitlines()[1:]
        assert part == {tuple(line.split("\t")) for line in lines}


def test_a_split_seed_keeps_the_split_whatever_the_seed(unsplit: Path) -> None:
    runs = [prepared(unsplit, split_seed=5, seed=seed, align="none") for seed in (1, 2)]
    first, second = map(parts_of, runs)
    assert first == second
    other = parts_of(prepared(unsplit, split_seed=6, seed=1, align="none"))
    assert other != first
    assert set.union(*other) == set.union(*first)
    assert [len(part) for part in first] == [360, 120, 120]
    assert not first[0] & first[1]
    assert not first[2] & (first[0] | first[1])
    # Six of each user's ten, as 3:1:1 has it.
    users = [user for user, _ in first[0]]
    assert {users.count(user) for user in users} == {6}
    # The seed still decides everything else.
    weights = [run.model.user_embedding.weight for run in runs]
    assert not torch.equal(*weights)


def test_without_a_split_seed_the_split_is_the_seeds_as_in_recbole(unsplit: Path) -> None:
    first, again, other = (
        parts_of(prepared(unsplit, seed=seed, align="none")) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert stock_parts(unsplit, seed=1) == first


def stock_parts(data_path: Path, seed: int) -> list[set[tuple[str, str]]]:
    """RecBole's own road from a configuration to the three parts."""
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    from recbole_darec.recbole_compat.config import make_config
    from recbole_darec.run import Prepared

    settings = resolve("LightGCN", "tiny", None, options(data_path, seed=seed, align="none"))
    config = make_config(settings, backbone_class(settings.model))
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    return parts_of(Prepared(settings, config, dataset, *loaders, None, None))


def test_a_split_seed_needs_three_ratios(unsplit: Path) -> None:
    args = {"split": {"LS": "valid_and_test"}, "order": "RO", "group_by": "user", "mode": "full"}
    with pytest.raises(OptionError, match="split_seed goes with a ratio split of three parts"):
        prepared(unsplit, split_seed=1, eval_args=args, align="none")


def test_runs_on_one_split_differ_by_their_seed(unsplit: Path) -> None:
    results = [
        run_recbole_darec(
            "LightGCN", "tiny", config_dict=options(unsplit, split_seed=5, seed=seed, epochs=3)
        )
        for seed in (1, 1, 2)
    ]
    assert outcome(results[0]) == outcome(results[1]) != outcome(results[2])


# ---- loaders and models -----------------------------------------------------------------------


@pytest.mark.parametrize("model", ["LightGCN", "Pop", "MultiVAE"])
def test_all_items_are_ranked_by_our_loader(model: str, data_path: Path) -> None:
    run = prepared(data_path, model, align="none")
    assert isinstance(run.valid_data, AllRankLoader)
    assert isinstance(run.test_data, AllRankLoader)


def test_the_mask_concerns_the_test_alone(data_path: Path) -> None:
    train, both = (
        prepared(data_path, align="none", eval_mask=mask) for mask in ("train", "train_valid")
    )
    assert len(train.valid_data.history.keys) == len(both.valid_data.history.keys) == 360
    assert len(train.test_data.history.keys) == 360
    assert len(both.test_data.history.keys) == 480


def test_the_eval_mask_changes_training_in_nothing(data_path: Path) -> None:
    results = [
        run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path, eval_mask=mask))
        for mask in ("train", "train_valid")
    ]
    assert results[0]["best_valid_result"] == results[1]["best_valid_result"]
    assert results[0]["test_result"] != results[1]["test_result"]


def test_more_items_than_there_are_cannot_be_asked_for(data_path: Path) -> None:
    with pytest.raises(OptionError, match="there are only 40 items"):
        prepared(data_path, topk=[41], valid_metric="Recall@41")
    assert prepared(data_path, topk=[40], valid_metric="Recall@40") is not None


def test_preparing_writes_nothing(data_path: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    prepare(resolve("LightGCN", "tiny", None, options(data_path)))
    assert sorted(tmp_path.rglob("*")) == before


# ---- what a run leaves ------------------------------------------------------------------------


def test_a_run_leaves_one_model_one_log_and_one_event_folder(
    data_path: Path, tmp_path: Path
) -> None:
    run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    assert [p.suffix for p in Path("saved").iterdir()] == [".pth"]
    assert [p.suffix for p in Path("log/LightGCN").iterdir()] == [".log"]
    assert len(list(Path("log_tensorboard").iterdir())) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "dataset", "log", "log_tensorboard", "saved",
    ]  # fmt: skip


def test_an_interrupt_keeps_the_best_model_and_the_way_to_go_on(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_darec.aligned.recommender import AlignedRecommender

    given = options(data_path, epochs=6)
    whole = run_recbole_darec("LightGCN", "tiny", config_dict=given)
    step, calls = AlignedRecommender.calculate_loss, []

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 4 * 6 + 3:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    Path("saved").rename("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(AlignedRecommender, "calculate_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_darec("LightGCN", "tiny", config_dict=given)
    assert sorted(p.suffix for p in Path("saved").iterdir()) == [".pth", ".resume"]
    logs = sorted(Path("log/LightGCN").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    said = logs[-1].read_text()
    assert "the best model so far (epoch" in said
    assert "--resume goes on with this run" in said
    resumed = run_recbole_darec("LightGCN", "tiny", config_dict={**given, "resume": True})
    assert outcome(resumed) == outcome(whole)
    assert [p.suffix for p in Path("saved").iterdir()] == [".pth"]


def test_a_run_that_fails_leaves_the_log_level_as_it_was(data_path: Path) -> None:
    level = logging.getLogger().level
    with pytest.raises(CheckpointError, match="does not exist"):
        run_recbole_darec(
            "LightGCN", "tiny", config_dict=options(data_path, resume="nowhere.resume")
        )
    assert logging.getLogger().level == level


def test_the_number_of_threads_is_set(data_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        prepared(data_path, num_threads=1, align="none")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)

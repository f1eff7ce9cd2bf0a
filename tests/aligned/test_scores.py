"""A step at score level, over backbones of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.model.general_recommender.neumf import NeuMF
from tiny_runs import options

from recbole_darec import evaluate_checkpoint, run_recbole_darec
from recbole_darec.aligned.scores import all_pairs
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare

GRAPH = ("LightGCN", "SGL", "NCL")


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("scores")).data_path


def given(data_path: Path, model: str, **changed: Any) -> dict[str, Any]:
    values = {k: v for k, v in options(data_path).items() if not k.startswith("align_")}
    if model not in GRAPH:
        del values["n_layers"]
    return {**values, **changed}


def ready(data_path: Path, model: str, **changed: Any) -> Prepared:
    return prepare(resolve(model, "tiny", None, given(data_path, model, **changed)))


def scores(run: Prepared) -> torch.Tensor:
    run.model.eval()
    users = run.test_data.user_df
    with torch.no_grad():
        try:
            found = run.model.full_sort_predict(users)
        except NotImplementedError:
            found = all_pairs(run.model.predict, users, "item_id", run.dataset.item_num)
    return found.view(len(users), -1)


@pytest.mark.parametrize("model", ["LightGCN", "BPR", "NeuMF", "EASE", "ItemKNN", "MultiVAE"])
def test_any_model_that_ranks_takes_the_filter(model: str, data_path: Path) -> None:
    plain = ready(data_path, model, align="none")
    off = ready(data_path, model, align="text_filter", filter_weight=0.0)
    on = ready(data_path, model, align="text_filter", filter_weight=0.5)
    assert torch.equal(scores(plain), scores(off))
    found = scores(on)
    assert bool(found.isfinite().all())
    assert not torch.equal(found, scores(plain))
    # Pairs have the very scores that they have among all items.
    users = on.test_data.user_df["user_id"][[3, 0, 3]]
    items = torch.tensor([5, 7, 9])
    with torch.no_grad():
        pairs = on.model.predict({"user_id": users, "item_id": items})
    # A product of other rows may round otherwise.
    wanted = found[torch.tensor([3, 0, 3]), items]
    torch.testing.assert_close(pairs, wanted, rtol=1e-5, atol=1e-5)


def test_a_model_of_pairs_has_a_row_for_each_user(data_path: Path) -> None:
    run = ready(data_path, "NeuMF", align="none")
    assert isinstance(run.model, NeuMF)
    found = scores(run)
    with torch.no_grad():
        alone = run.model.predict({"user_id": torch.tensor([2] * 3), "item_id": torch.arange(3)})
    place = run.test_data.user_df["user_id"].tolist().index(2)
    torch.testing.assert_close(found[place, :3], alone)


def test_training_is_the_backbones_to_the_bit_and_the_checkpoint_ranks_as_the_run(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {}
    for align in ("none", "text_filter"):
        values = given(data_path, "LightGCN", align=align, epochs=3)
        found[align] = run_recbole_darec("LightGCN", "tiny", config_dict=values)
    states = {
        align: torch.load(result["model_file"], weights_only=True)["state_dict"]
        for align, result in found.items()
    }
    for name, value in states["none"].items():
        assert torch.equal(states["text_filter"][name], value), name
    filtered = found["text_filter"]
    assert filtered["best_valid_score"] >= found["none"]["best_valid_score"]
    again = evaluate_checkpoint(filtered["model_file"])
    assert again["test"] == filtered["test_result"]
    assert again["valid"] == filtered["best_valid_result"]


def test_the_control_without_text_reads_no_profiles(data_path: Path, tmp_path: Path) -> None:
    empty = str(tmp_path)  # no profiles there
    run = ready(
        data_path, "LightGCN", align="text_filter", profile_control="no_text",
        filter_weight=0.5, profile_dir=empty,
    )  # fmt: skip
    assert not bool(run.model.profile_rows.any())
    scores(run)
    weights = run.model.aligner.fitted(run.model._ranking).weights
    assert (weights.text, weights.match, weights.user_text) == (0.0, 0.0, 0.0)
    with pytest.raises(OptionError, match="no_text is the control of --align=text_filter"):
        ready(data_path, "LightGCN", align="kar", profile_control="no_text")


@pytest.mark.parametrize("missing", ["user", "item"])
def test_profiles_of_one_kind_are_enough(missing: str, tmp_path: Path, make_tiny: Callable) -> None:
    data = make_tiny(tmp_path / "dataset")
    (data.folder / f"tiny.{missing}emb.npy").unlink()
    run = ready(data.data_path, "LightGCN", align="text_filter", filter_weight=0.5)
    assert bool(scores(run).isfinite().all())
    kinds = run.model._kinds
    assert not bool(run.model.profile_rows[kinds[missing]].any())

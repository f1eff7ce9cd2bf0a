"""Backbones with a trainer of their own keep it, alone and under an aligner."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.trainer import NCLTrainer, RecVAETrainer, TraditionalTrainer, Trainer
from tiny_runs import options, outcome, prepared

from recbole_darec import load_data_and_model, run_recbole_darec
from recbole_darec.backbones.ncl import NCL
from recbole_darec.run import make_trainer
from recbole_darec.training.checkpoint import load_checkpoint

NCL_OPTIONS = {"num_clusters": 4, "warm_up_step": 2, "m_step": 3}


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


@pytest.mark.parametrize(
    ("model", "align", "trainer"),
    [
        ("NCL", "none", NCLTrainer),
        ("NCL", "darec", NCLTrainer),
        ("LightGCN", "darec", Trainer),
        ("Pop", "none", TraditionalTrainer),
        ("RecVAE", "none", RecVAETrainer),
    ],
)
def test_the_trainer_is_recboles_for_the_backbone(
    model: str, align: str, trainer: type, data_path: Path
) -> None:
    given = NCL_OPTIONS if model == "NCL" else {}
    made = make_trainer(prepared(data_path, model, align=align, **given))
    assert type(made).__bases__[-1] is trainer


class Watched(NCL):
    """NCL which notes its E-steps and what it was asked for."""

    steps: list[str]

    def e_step(self) -> None:
        super().e_step()
        self.steps.append("E")

    def calculate_loss(self, interaction: Any) -> Any:
        self.steps.append("M")
        return super().calculate_loss(interaction)


Watched.__name__ = "NCL"


@pytest.mark.parametrize("align", ["none", "darec"])
def test_the_e_step_of_ncl_runs_for_a_wrapped_backbone(
    align: str, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "steps", [], raising=False)
    run = prepared(data_path, Watched, align=align, epochs=4, **NCL_OPTIONS)
    del Watched.steps[:]
    make_trainer(run).fit(run.train_data, run.valid_data, saved=False)
    per_epoch = ["M"] * len(run.train_data)
    assert Watched.steps == ["E", *per_epoch * 3, "E", *per_epoch]


@pytest.mark.parametrize(("align", "names"), [("none", []), ("darec", ["or", "uni", "glo", "loc"])])
def test_ncl_warms_up_without_its_last_part_and_the_aligner_stays(
    align: str, names: list[str], data_path: Path
) -> None:
    given = options(data_path, align=align, epochs=4, **NCL_OPTIONS)
    run_recbole_darec("NCL", "tiny", config_dict=given)
    (log,) = Path("log/NCL").iterdir()
    lines = re.findall(r"epoch \d+ training \[time: [\d.]+s, (.*)\]", log.read_text())
    found = [[part.split(": ")[0] for part in line.split(", ")] for line in lines]
    warm, whole = ["base0", "base1", *names], ["base0", "base1", "base2", *names]
    assert found == [warm, warm, whole, whole]


def test_ncl_learns_the_aligners_parameters_too(data_path: Path) -> None:
    run = prepared(data_path, "NCL", epochs=1, **NCL_OPTIONS)
    before = {name: value.clone() for name, value in run.model.alignment.state_dict().items()}
    make_trainer(run).fit(run.train_data, run.valid_data, saved=False)
    for name, value in run.model.alignment.named_parameters():
        assert not torch.equal(before[name], value), name


@pytest.mark.parametrize("model", ["Pop", "ItemKNN", "EASE", "SLIMElastic", "ADMMSLIM"])
def test_a_solved_model_is_kept_and_loaded(model: str, data_path: Path) -> None:
    # In small batches: RecBole's Pop counts an item once a batch.
    given = {"train_batch_size": 16, "align": "none", "show_progress": False}
    given["data_path"] = str(data_path)
    given["eval_step"] = 3  # more than the one epoch that there is
    result = run_recbole_darec(model, "tiny", config_dict=given)
    assert result["best_valid_result"]["recall@10"] > 0.0
    _, loaded, _, _, _, test_data = load_data_and_model(result["model_file"])
    fresh = prepared(data_path, model, align="none").model
    users = test_data.user_df
    with torch.no_grad():
        scores = loaded.full_sort_predict(users).view(len(users), -1)
    assert scores.shape == (60, 41)
    assert bool((scores[:, 1:] != scores[:, 1:2]).any())
    content = load_checkpoint(Path(result["model_file"]))
    assert content["other_parameter"] or content["state_dict"]
    assert type(fresh).__name__ == type(loaded).__name__ == model


def test_both_optimisers_of_recvae_are_in_a_snapshot(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import recbole_darec.training.snapshots as module

    seen = []
    save = module.save_checkpoint
    monkeypatch.setattr(
        module, "save_checkpoint", lambda content, path: seen.append(content) or save(content, path)
    )
    given = options(data_path, align="none")
    for name in ("n_layers", "align_sample", "align_width", "align_mlp_hidden"):
        del given[name]
    run_recbole_darec("RecVAE", "tiny", config_dict={**given, "epochs": 2})
    (snapshot,) = [content for content in seen if "next_epoch" in content]
    assert sorted(snapshot["optimizers"]) == ["optimizer_decoder", "optimizer_encoder"]
    assert all(state["state"] for state in snapshot["optimizers"].values())


def test_a_pretrained_stage_is_kept_as_a_checkpoint_of_ours(data_path: Path) -> None:
    given = {"pretrain_epochs": 2, "save_step": 1, "align": "none", "show_progress": False}
    given["data_path"] = str(data_path)
    first, second = (run_recbole_darec("RaCT", "tiny", config_dict=given) for _ in range(2))
    assert outcome(first) == outcome(second)
    assert load_checkpoint(Path(first["model_file"]))["epoch"] == 1

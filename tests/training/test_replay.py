"""Which runs have steps that are all alike; test_gpu.py shows that they are replayed right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import prepared

from recbole_darec.run import make_trainer
from recbole_darec.training import replay


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("replay")).data_path


@pytest.mark.parametrize(
    ("model", "align", "changed", "alike"),
    [
        ("LightGCN", "darec", {}, True),
        ("SimGCL", "rlmrec_con", {}, True),
        ("LightGCN", "rlmrec_con+text_filter", {}, True),
        ("LightGCN", "darec", {"center_matching": "hungarian"}, False),
        ("LightGCN", "rlmrec_con", {"negatives": "all"}, False),
        ("LightGCN", "rlmrec_con+text_filter", {"negatives": "all"}, False),
        ("SGL", "none", {}, False),
        ("AutoCF", "none", {}, False),
        ("BPR", "rlmrec_con", {}, False),
    ],
)
def test_steps_are_alike_where_model_and_aligner_say_so(
    model: str, align: str, changed: dict[str, Any], alike: bool, data_path: Path
) -> None:
    run = prepared(data_path, model, align=align, **changed)
    assert run.model.replayable == alike
    assert replay.replay_of(make_trainer(run)) is None  # there is no GPU


@pytest.mark.parametrize(
    ("cuda_graph", "scaled", "replays"),
    [(True, False, True), (False, False, False), (True, True, False)],
)
def test_only_a_gpu_replays_and_only_if_asked(
    cuda_graph: bool,
    scaled: bool,
    replays: bool,
    data_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = prepared(data_path, align="none", cuda_graph=cuda_graph)
    trainer = make_trainer(run)
    monkeypatch.setattr(replay, "StepReplay", lambda model: model)
    trainer.device, trainer.enable_scaler = torch.device("cuda"), scaled
    assert replay.replay_of(trainer) is (run.model if replays else None)

"""Training on a GPU: no step waits for it, its losses are the CPU's, and runs come to their end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from tiny_runs import (
    EMBEDDING_BACKBONES,
    in_clean_process,
    options,
    outcome,
    parameters,
    prepared,
)

from recbole_darec import evaluate_checkpoint, run_recbole_darec
from recbole_darec.run import make_trainer
from recbole_darec.testing.tiny_sequences import write_tiny_sequences
from recbole_darec.training.epoch import train_epoch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

METHODS = ["none", "darec", "rlmrec_con", "rlmrec_gen", "kar", "relational", "relational_con"]
PRECISIONS = pytest.mark.parametrize("mixed", [False, True], ids=["float32", "amp"])


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("gpu")).data_path


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def waits() -> Iterator[list[str]]:
    """Tell where the block has waited for the GPU."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
            texts = [(f"{w.filename}:{w.lineno}", str(w.message)) for w in told]
            found += [place for place, text in texts if "called a synchronizing" in text]


@PRECISIONS
@pytest.mark.parametrize("align", METHODS)
# AutoCF cuts out another number of edges in each step, and has to ask for it.
@pytest.mark.parametrize("model", [name for name in EMBEDDING_BACKBONES if name != "AutoCF"])
def test_an_epoch_waits_for_its_end_alone(
    model: str, align: str, mixed: bool, data_path: Path
) -> None:
    run = prepared(data_path, model, align=align)
    batches, optimizer = list(run.train_data), make_trainer(run).optimizer
    run.model.train()
    if hasattr(run.model, "e_step"):
        run.model.e_step()
    given = {"device": run.config["device"], "mixed_precision": mixed}
    train_epoch(batches, run.model.calculate_loss, run.model, optimizer, **given)  # warms up
    with waits() as waited:
        steps = train_epoch(batches, run.model.calculate_loss, run.model, optimizer, **given)
    assert torch.isfinite(steps).all()
    assert len(batches) >= 5
    assert len(waited) == 1, waited  # for the losses, which are read when all is done


def one_step(data_path: str, align: str, gpu: str, state: str, answer: str) -> str:
    """Write losses and gradients of one batch; returns the kind of the device that found them.

    The first caller writes the state that all start from.
    """
    given: dict[str, Any] = {"align": align}
    if align == "darec":
        given |= {"align_sample": "all", "uniformity_sample": "all"}
    run = prepared(Path(data_path), gpu_id=gpu, **given)
    if align == "darec":  # the first centers would be drawn by the device's generator
        modules = run.model.aligner.modules
        for name in ("centers_c", "centers_l"):
            buffer = modules.get_buffer(name)
            buffer.copy_(torch.randn(buffer.shape, generator=torch.Generator().manual_seed(3)))
        modules.get_buffer("centers_known").fill_(True)
    fields = next(iter(run.train_data)).interaction
    if not Path(state).exists():
        torch.save({"model": parameters(run.model), "batch": fields}, state)
    start = torch.load(state, weights_only=True, map_location=run.config["device"])
    run.model.load_state_dict(start["model"])
    run.model.train()
    parts = run.model.calculate_loss(Interaction(start["batch"]))
    parts = parts if isinstance(parts, tuple) else (parts,)
    losses = torch.stack([part.reshape(()) for part in parts])
    losses.sum().backward()
    named = run.model.named_parameters()
    gradients = {name: p.grad.cpu() for name, p in named if p.grad is not None}
    torch.save({"losses": losses.detach().cpu(), **gradients}, answer)
    return str(run.config["device"].type)


# RLMRec-Gen masks rows that the device's own generator draws.
@pytest.mark.parametrize("align", [method for method in METHODS if method != "rlmrec_gen"])
def test_losses_and_gradients_are_the_cpus(align: str, data_path: Path, tmp_path: Path) -> None:
    found = []
    # A process that was told of no GPU stays without one.
    for kind, gpu in (("cpu", ""), ("cuda", "0")):
        answer = tmp_path / f"{kind}.pt"
        given = str(data_path), align, gpu, str(tmp_path / "start.pt"), str(answer)
        assert in_clean_process(one_step, tmp_path / kind, *given) == (0, kind)
        found.append(torch.load(answer, weights_only=True))
    expected, here = found
    assert set(here) == set(expected)
    torch.testing.assert_close(here.pop("losses"), expected.pop("losses"), rtol=1e-4, atol=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(here[name], gradient, rtol=1e-3, atol=1e-5)


def on_the_cpu(model_file: str) -> dict[str, float]:
    return dict(evaluate_checkpoint(model_file, {"gpu_id": ""})["test"])


@PRECISIONS
@pytest.mark.parametrize("align", ["none", "darec", "rlmrec_con", "rlmrec_con+text_filter"])
def test_a_run_ends_the_same_again_and_ranks_so_on_the_cpu(
    align: str, mixed: bool, data_path: Path, tmp_path: Path
) -> None:
    given = options(data_path, align=align, enable_amp=mixed, epochs=3)
    first, again = (run_recbole_darec("LightGCN", "tiny", config_dict=given) for _ in range(2))
    assert outcome(first) == outcome(again)
    file = str(tmp_path / first["model_file"])
    code, on_cpu = in_clean_process(on_the_cpu, tmp_path / "cpu", file)
    assert code == 0
    for name, value in first["test_result"].items():
        # Half precision may order two items the other way.
        assert on_cpu[name] == pytest.approx(value, abs=0.02 if mixed else 1e-6)


REPLAYABLE = ["LightGCN", "SimGCL", "GCCF", "DCCF"]


@PRECISIONS
@pytest.mark.parametrize("align", METHODS)
@pytest.mark.parametrize("model", REPLAYABLE)
def test_a_replayed_step_is_the_step(
    model: str, align: str, mixed: bool, data_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"align": align, "enable_amp": mixed, "train_batch_size": 50, "epochs": 3}
    found = [
        run_recbole_darec(model, "tiny", config_dict=options(data_path, **given, cuda_graph=graph))
        for graph in (False, True)
    ]
    assert "could not be recorded" not in caplog.text
    assert outcome(found[1]) == outcome(found[0])


def test_replayed_steps_give_the_parameters(data_path: Path) -> None:
    ends = []
    for graph in (False, True):
        run = prepared(data_path, align="darec", train_batch_size=50, cuda_graph=graph)
        trainer = make_trainer(run)
        losses = [trainer._train_epoch(run.train_data, epoch) for epoch in range(3)]
        # Of full batches, and of the last one.
        assert (len(trainer._replay._recorded) if trainer._replay else 0) == (2 if graph else 0)
        ends.append((losses, parameters(run.model)))
    assert ends[0][0] == ends[1][0]
    for name, value in ends[0][1].items():
        torch.testing.assert_close(ends[1][1][name], value, rtol=0, atol=0)


@pytest.mark.parametrize("align", ["none", "pad", "rlmrec_con"])
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
def test_a_sequential_run_ends_the_same_again(model: str, align: str, tmp_path: Path) -> None:
    small = {"hidden_size": 8, "inner_size": 8, "train_batch_size": 16}
    data = write_tiny_sequences(tmp_path / "dataset").data_path
    given = options(data, align=align, **small) | {"n_layers": 1}
    given = {
        k: v for k, v in given.items() if model == "SASRec" or k not in ("inner_size", "n_layers")
    }
    if align == "pad":
        given |= {"gate_buckets": 4, "diagnostics": True}
    first, again = (run_recbole_darec(model, "tiny", config_dict=given) for _ in range(2))
    assert outcome(first) == outcome(again)


@pytest.mark.parametrize("align", ["none", "rlmrec_con"])
@pytest.mark.parametrize("model", ["LightGCN", "SASRec"])
def test_tables_start_from_profiles_on_a_gpu(
    model: str, align: str, data_path: Path, tmp_path: Path
) -> None:
    given = {"align": align, "init": "text", "epochs": 1}
    if model == "SASRec":
        data_path = write_tiny_sequences(tmp_path / "dataset").data_path
        given |= {"hidden_size": 8, "inner_size": 8}
    run = prepared(data_path, model, **given)
    assert run.config["device"].type == "cuda"
    trainer = make_trainer(run)
    assert torch.isfinite(torch.tensor(trainer._train_epoch(run.train_data, 0))).all()

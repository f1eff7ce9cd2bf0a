"""Which runs have steps that are all alike; test_gpu.py shows that they are replayed right."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import parameters, prepared

from recbole_darec.run import make_trainer
from recbole_darec.training import replay
from recbole_darec.training.epoch import train_epoch


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


class NoGPU:
    """Stands for torch.cuda where there is none: a graph that is replayed takes the step again."""

    def __init__(self) -> None:
        self.recorded, self.replayed, self.fails = 0, 0, False
        self.again: Callable[[], None] = lambda: None

    def Stream(self) -> Any:
        return self

    def current_stream(self) -> Any:
        return self

    def wait_stream(self, _: Any) -> None:
        pass

    @contextmanager
    def stream(self, _: Any) -> Iterator[None]:
        yield

    def CUDAGraph(self) -> Any:
        return self

    @contextmanager
    def graph(self, _: Any, *, pool: Any, stream: Any) -> Iterator[None]:
        assert pool == ("the first one's" if self.recorded else None)
        assert not gc.isenabled()
        try:
            yield
            if self.fails:
                raise RuntimeError("operation not permitted when stream is capturing\nmore")
        except RuntimeError:
            raise RuntimeError("failed due to a previous error during capture")  # noqa: B904
        self.recorded += 1

    def pool(self) -> str:
        return "the first one's"

    def replay(self) -> None:
        self.replayed += 1
        self.again()


def epoch_by(steps: Any, run: Any, batches: list[Any], optimizer: Any) -> torch.Tensor:
    given = {"device": torch.device("cpu"), "replay": steps}
    return train_epoch(batches, run.model.calculate_loss, run.model, optimizer, **given)


def batches_of(run: Any, sizes: list[int]) -> list[Any]:
    whole = next(iter(run.train_data))
    return [whole[:size] for size in sizes]


def replaying(run: Any, gpu: NoGPU, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what replays a run's steps where a replay takes the step of the recorded tensors."""
    # The module's own name for torch alone is changed.
    monkeypatch.setattr(replay, "torch", SimpleNamespace(cuda=gpu, is_tensor=torch.is_tensor))
    steps = replay.StepReplay(run.model)
    taken = steps._replayed

    def replayed(step: Any, batch: Any) -> torch.Tensor:
        def again() -> None:
            run.model.zero_grad(set_to_none=True)
            parts = run.model.calculate_loss(step.batch)
            torch.stack(parts).sum().backward()
            step.loss.copy_(torch.stack(parts).detach())
            for parameter, gradient in step.gradients:
                gradient.copy_(parameter.grad)
                parameter.grad = gradient

        gpu.again = again
        return taken(step, batch)

    monkeypatch.setattr(steps, "_replayed", replayed)
    return steps


def test_steps_are_replayed_after_three_and_each_shape_after_one(
    data_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends = []
    for way in ("ever", "replayed", "fails"):
        run = prepared(
            data_path, align="rlmrec_con", train_batch_size=50
        )  # 7 batches and one of 10
        batches, optimizer = list(run.train_data), make_trainer(run).optimizer
        run.model.train()
        gpu = NoGPU()
        gpu.fails = way == "fails"
        steps = None if way == "ever" else replaying(run, gpu, monkeypatch)
        losses = [epoch_by(steps, run, batches, optimizer) for _ in range(2)]
        run.model.diagnose_next = True
        losses.append(epoch_by(steps, run, batches, optimizer))
        assert not run.model.diagnose_next
        ends.append((torch.stack(losses), parameters(run.model)))
        if way == "replayed":
            assert gpu.recorded == 2
            # The odd one is taken as ever once; one step of the third epoch was looked at.
            assert gpu.replayed == 4 + (7 + 1) + (6 + 1)
        if way == "fails":
            assert caplog.text.count("could not be recorded as a CUDA graph") == 1
            assert "stream is capturing" in caplog.text
            assert gc.isenabled()
    for losses, state in ends[1:]:
        torch.testing.assert_close(losses, ends[0][0], rtol=0, atol=0)
        for name, value in ends[0][1].items():
            torch.testing.assert_close(state[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_shapes_are_recorded_than_have_room(
    most: int, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(data_path, align="rlmrec_con", train_batch_size=50)
    own = sum(p.numel() * p.element_size() for p in run.model.parameters())
    monkeypatch.setattr(replay, "_MOST_BYTES", most * own)
    gpu = NoGPU()
    steps, optimizer = replaying(run, gpu, monkeypatch), make_trainer(run).optimizer
    run.model.train()
    for _ in range(4):
        epoch_by(steps, run, batches_of(run, [50, 20, 30]), optimizer)
    assert gpu.recorded == most
    assert gpu.replayed == 3 * most


def test_what_was_recorded_is_replayed_after_another_shape_fails(
    data_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = prepared(data_path, align="rlmrec_con", train_batch_size=50)
    gpu = NoGPU()
    steps, optimizer = replaying(run, gpu, monkeypatch), make_trainer(run).optimizer
    run.model.train()
    epoch_by(steps, run, batches_of(run, [50] * 4 + [20]), optimizer)
    gpu.fails = True
    for _ in range(2):
        epoch_by(steps, run, batches_of(run, [20, 50, 30, 50]), optimizer)
    assert (gpu.recorded, gpu.replayed) == (1, 1 + 4)
    assert caplog.text.count("could not be recorded") == 1

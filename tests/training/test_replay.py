"""Which runs have steps that are all alike; test_gpu.py shows that they are replayed right."""

from __future__ import annotations

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
    def graph(self, _: Any, stream: Any) -> Iterator[None]:
        yield
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        self.recorded += 1

    def replay(self) -> None:
        self.replayed += 1
        self.again()


def epoch_by(steps: Any, run: Any, batches: list[Any], optimizer: Any) -> torch.Tensor:
    given = {"device": torch.device("cpu"), "replay": steps}
    return train_epoch(batches, run.model.calculate_loss, run.model, optimizer, **given)


def test_steps_are_replayed_after_three_and_odd_ones_taken_as_ever(
    data_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ends = []
    for way in ("ever", "replayed", "fails"):
        run = prepared(
            data_path, align="rlmrec_con", train_batch_size=50
        )  # 7 batches and one of 10
        batches, optimizer = list(run.train_data), make_trainer(run).optimizer
        run.model.train()
        steps = None
        if way != "ever":
            gpu = NoGPU()
            gpu.fails = way == "fails"
            # The module's own name for torch alone is changed.
            cuda = SimpleNamespace(cuda=gpu, is_tensor=torch.is_tensor)
            monkeypatch.setattr(replay, "torch", cuda)
            steps = replay.StepReplay(run.model)

            def again(steps: Any = steps, run: Any = run) -> None:
                run.model.zero_grad(set_to_none=True)
                parts = run.model.calculate_loss(steps._batch)
                torch.stack(parts).sum().backward()
                steps._loss.copy_(torch.stack(parts).detach())
                for parameter, gradient in steps._gradients:
                    gradient.copy_(parameter.grad)
                    parameter.grad = gradient

            gpu.again = again
        losses = [epoch_by(steps, run, batches, optimizer) for _ in range(2)]
        run.model.diagnose_next = True
        losses.append(epoch_by(steps, run, batches, optimizer))
        assert not run.model.diagnose_next
        ends.append((torch.stack(losses), parameters(run.model)))
        if way == "replayed":
            assert gpu.recorded == 1
            assert gpu.replayed == 4 + 7 + 6  # one of the third epoch was looked at
        if way == "fails":
            assert caplog.text.count("could not be recorded as a CUDA graph") == 1
            assert "stream is capturing" in caplog.text
    for losses, state in ends[1:]:
        torch.testing.assert_close(losses, ends[0][0], rtol=0, atol=0)
        for name, value in ends[0][1].items():
            torch.testing.assert_close(state[name], value, rtol=0, atol=0)

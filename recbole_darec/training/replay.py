"""A training step recorded once on a GPU and replayed: one launch in place of many.

A step of DaRec is a long row of small kernels, which a GPU ends sooner than a processor starts
them.  Recorded as a CUDA graph they are started at once.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_darec.errors import first_line
from recbole_darec.numerics import step_begins
from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions

__all__ = ["StepReplay", "replay_of"]

# So many steps are taken as ever before one is recorded: the first of them load libraries and
# choose kernels, and a method may start in a way of its own.
_STEPS_BEFORE = 3

# Batches of so many shapes are recorded at the most, and while gradients of no more bytes stand in
# memory for them: each shape has its own.
_MOST_SHAPES = 32
_MOST_BYTES = 1 << 30


class _Recorded(NamedTuple):
    """A step of one shape, with the tensors that it reads and writes."""

    graph: Any
    batch: Any
    loss: Tensor
    gradients: list[tuple[Any, Tensor | None]]


def replay_of(trainer: Any) -> StepReplay | None:
    """Return what replays a trainer's steps, None where each is to be taken by itself."""
    alike = (
        trainer.device.type == "cuda"
        and trainer.ranks.size == 1
        and not trainer.enable_scaler  # it asks after each step whether it overflowed
        and options_from_config(RunOptions, trainer.config).cuda_graph
        and trainer.model.replayable
    )
    return StepReplay(trainer.model) if alike else None


class StepReplay:
    """The forward and backward passes of a model whose steps are all alike.

    The first steps are taken as ever.  Then one is recorded for each shape of batches that came
    before, an epoch's last among them, and replayed from there on.  The optimiser's step is not
    part of it.

    Args:
        model: ``replayable``, on a GPU.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._recorded: dict[Any, _Recorded] = {}
        self._seen: Counter[Any] = Counter()
        self._fails = False
        own = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        self._most = max(1, min(_MOST_SHAPES, _MOST_BYTES // max(own, 1)))

    def __call__(self, batch: Any, passes: Callable[[Any], Tensor]) -> Tensor:
        """Return the parts of a batch's loss, its gradients in the parameters.

        Args:
            batch: RecBole's interaction, on the GPU.
            passes: takes both passes of a batch, whose parameters have no gradients yet, and
                returns the parts of its loss.
        """
        if self._model.diagnose_next:  # a step that is looked at is another one
            return passes(batch)
        shapes = tuple((name, v.shape, v.dtype) for name, v in sorted(batch.interaction.items()))
        step = self._recorded.get(shapes)
        if step is not None:
            return self._replayed(step, batch)
        if self._fails or len(self._recorded) >= self._most:
            return passes(batch)
        due = shapes in self._seen and self._seen.total() >= _STEPS_BEFORE
        self._seen[shapes] += 1
        return self._first(shapes, batch, passes) if due else self._aside(batch, passes)

    def _aside(self, batch: Any, passes: Callable[[Any], Tensor]) -> Tensor:
        """Take a step on the stream that will record, as PyTorch asks for."""
        main = torch.cuda.current_stream()
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            loss = passes(batch)
        main.wait_stream(self._stream)
        return loss

    def _first(self, shapes: Any, batch: Any, passes: Callable[[Any], Tensor]) -> Tensor:
        """Record the step of a shape and replay it."""
        fields = {name: values.clone() for name, values in batch.interaction.items()}
        graph, still = torch.cuda.CUDAGraph(), type(batch)(fields)
        # One after the other, the steps can share what memory each needs on its way.
        pool = next((step.graph.pool() for step in self._recorded.values()), None)
        try:
            with (
                _no_collection(),
                torch.cuda.graph(graph, pool=pool, stream=self._stream),
                step_begins(),
            ):
                loss = passes(still)
        except RuntimeError as error:
            self._fails = True
            getLogger().warning(
                "a training step could not be recorded as a CUDA graph, and those like it are "
                f"taken by themselves (cuda_graph=False leaves this out): {_cause(error)}"
            )
            self._model.zero_grad(set_to_none=True)
            return passes(batch)
        gradients = [(p, p.grad) for p in self._model.parameters()]
        step = self._recorded[shapes] = _Recorded(graph, still, loss, gradients)
        return self._replayed(step, batch)

    def _replayed(self, step: _Recorded, batch: Any) -> Tensor:
        for name, values in step.batch.interaction.items():
            values.copy_(batch.interaction[name])
        for parameter, gradient in step.gradients:
            parameter.grad = gradient
        # What a step forgets by itself: an evaluation may have kept embeddings since.
        self._model.forget_embeddings()
        step.graph.replay()
        return step.loss.clone()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect what is not used any more, and nothing until the end.

    What a collection frees may belong to the GPU, such as another recorded step, and freeing it
    would break the recording.
    """
    gc.collect()
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _cause(error: BaseException) -> str:
    """Return the first line of what went wrong first: the end of a recording raises, too."""
    while error.__context__ is not None:
        error = error.__context__
    return first_line(error)

"""A training step recorded once on a GPU and replayed: one launch in place of many.

A step of DaRec is a long row of small kernels, which a GPU ends sooner than a processor starts
them.  Recorded as a CUDA graph they are started at once.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from typing import Any

import torch
from torch import Tensor

from recbole_darec.settings.options import options_from_config
from recbole_darec.settings.run_options import RunOptions

__all__ = ["StepReplay", "replay_of"]

# So many steps of a shape are taken as ever before one is recorded: the first of them load
# libraries and choose kernels, and a method may start in a way of its own.
_STEPS_BEFORE = 3


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

    The first steps are taken as ever.  Then one is recorded and replayed for every batch of its
    shapes; a batch of others, such as an epoch's last, is taken as ever.  The optimiser's step
    is not part of it.

    Args:
        model: ``replayable``, on a GPU.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph: Any = None
        self._shapes: dict[str, Any] = {}
        self._steps, self._fails = 0, False
        self._batch: Any = None
        self._loss: Tensor | None = None
        self._gradients: list[tuple[Any, Tensor | None]] = []

    def __call__(self, batch: Any, passes: Callable[[Any], Tensor]) -> Tensor:
        """Return the parts of a batch's loss, its gradients in the parameters.

        Args:
            batch: RecBole's interaction, on the GPU.
            passes: takes both passes of a batch, whose parameters have no gradients yet, and
                returns the parts of its loss.
        """
        if self._fails or self._model.diagnose_next:  # a step that is looked at is another one
            return passes(batch)
        shapes = {name: (v.shape, v.dtype) for name, v in batch.interaction.items()}
        if shapes != self._shapes:
            if self._steps >= _STEPS_BEFORE:
                return passes(batch)
            self._shapes, self._steps = shapes, 0
        if self._steps < _STEPS_BEFORE:
            self._steps += 1
            return self._aside(batch, passes)
        return self._replayed(batch) if self._graph is not None else self._recorded(batch, passes)

    def _aside(self, batch: Any, passes: Callable[[Any], Tensor]) -> Tensor:
        """Take a step on the stream that will record, as PyTorch asks for."""
        main = torch.cuda.current_stream()
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            loss = passes(batch)
        main.wait_stream(self._stream)
        return loss

    def _recorded(self, batch: Any, passes: Callable[[Any], Tensor]) -> Tensor:
        fields = {name: values.clone() for name, values in batch.interaction.items()}
        graph, still = torch.cuda.CUDAGraph(), type(batch)(fields)
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                loss = passes(still)
        except RuntimeError as error:
            self._fails = True
            getLogger().warning(
                "a training step could not be recorded as a CUDA graph, and every step is taken by "
                f"itself (cuda_graph=False leaves this out): {str(error).splitlines()[0]}"
            )
            self._model.zero_grad(set_to_none=True)
            return passes(batch)
        self._batch, self._loss, self._graph = still, loss, graph
        self._gradients = [(p, p.grad) for p in self._model.parameters()]
        return self._replayed(batch)

    def _replayed(self, batch: Any) -> Tensor:
        for name, values in self._batch.interaction.items():
            values.copy_(batch.interaction[name])
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        # What a step forgets by itself: an evaluation may have kept embeddings since.
        self._model.forget_embeddings()
        self._graph.replay()
        assert self._loss is not None
        return self._loss.clone()

"""The whole state of a run between two epochs: what of it is saved, and how it is put back.

Everything that an epoch changes is the same function of this state, so that a run which goes on
from it comes out as the uninterrupted one.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_darec.training.checkpoint import load_parameters, parameters_of, plain
from recbole_darec.training.parallel import Ranks, digest

__all__ = [
    "check_draws",
    "holds_everything",
    "kept_beside_parameters",
    "restore",
    "restore_random_state",
    "state_of",
    "undrawn",
]


def state_of(trainer: Any, train_data: Any, next_epoch: int) -> dict[str, Any]:
    """Return the whole state of a run whose next epoch is ``next_epoch``."""
    return {
        **trainer.identity.entries(),
        **trainer.progress(),
        **parameters_of(trainer.model),
        "phase": trainer.phases.number,
        "next_epoch": next_epoch,
        "best_epoch": trainer.best_epoch,
        "saved_model_file": Path(trainer.phases.model_file).name,
        "optimizers": plain({n: o.state_dict() for n, o in _optimizers(trainer).items()}),
        "random_state": _random_state(train_data),
        "train_losses": plain(trainer.train_loss_dict),
    }


def holds_everything(trainer: Any, next_epoch: int) -> bool:
    """Tell whether the state before ``next_epoch`` is all that the run needs to go on.

    Where RecBole's trainer has E-steps, every ``num_m_step`` epochs, their outcome is in the state
    only if the model keeps something beside its parameters; RecBole's own NCL keeps nothing, and
    can go on only where an E-step makes it anew.
    """
    beside = getattr(trainer.model, "other_parameter_name", ())
    if any(not name.startswith("restore_") for name in beside):
        return True
    return next_epoch % int(getattr(trainer, "num_m_step", 1)) == 0


def restore(trainer: Any, content: dict[str, Any], path: Path) -> None:
    """Put a trainer where that of a saved state was, but for its random state.

    That follows when the first epoch begins: numbers may be drawn until then, which the run that
    was cut off drew earlier.

    Raises:
        CheckpointError: the parameters do not fit the model.
    """
    load_parameters(trainer.model, content, path)
    trainer.phases.enter(content.get("phase", 0))
    for name, optimizer in _optimizers(trainer).items():
        optimizer.load_state_dict(content["optimizers"][name])
    trainer.start_epoch = content["next_epoch"]
    trainer.cur_step = content["cur_step"]
    trainer.best_valid_score = content["best_valid_score"]
    trainer.best_valid_result = content["best_valid_result"]
    trainer.best_epoch = content["best_epoch"]
    trainer.train_loss_dict = content["train_losses"]
    trainer.phases.take_file(str(path.parent / content["saved_model_file"]))


def restore_random_state(state: dict[str, Any], train_data: Any) -> None:
    """Put every generator of random numbers, the loader's too, where that of a saved state was."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    keys = keys.cpu().numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    train_data.generator.set_state(state["loader"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        # As many as there are here: of several processes each has one.
        states = state["cuda"][: torch.cuda.device_count()]
        torch.cuda.set_rng_state_all([s.cpu() for s in states])


@contextlib.contextmanager
def undrawn(train_data: Any) -> Iterator[None]:
    """Put every generator of random numbers back to where it stood before the block."""
    before = _random_state(train_data)
    try:
        yield
    finally:
        restore_random_state(before, train_data)


def kept_beside_parameters(model: Any) -> list[torch.Tensor]:
    """Return what a step writes and no gradient moves: saved buffers, and clusters as NCL's."""
    trained = {name for name, _ in model.named_parameters()}
    state = [value for name, value in model.state_dict().items() if name not in trained]
    names = getattr(model, "other_parameter_name", ())
    beside = [getattr(model, n, None) for n in names if not n.startswith("restore_")]
    return [value for value in (*state, *beside) if isinstance(value, torch.Tensor)]


def check_draws(ranks: Ranks, train_data: Any) -> None:
    """Make sure that all processes have drawn the same random numbers.

    Raises:
        UserError: they have not, and would train different models from here on.
    """
    if ranks.size > 1:
        found = digest(*_random_state(train_data).values())
        ranks.agree({"generators": found}, "the model has drawn other random numbers")


def _random_state(train_data: Any) -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, internal, gauss_next = random.getstate()
    state = {
        "python": [version, list(internal), gauss_next],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "torch": torch.get_rng_state(),
        "loader": train_data.generator.get_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _optimizers(trainer: Any) -> dict[str, Any]:
    """Return every optimiser by its attribute's name; RecVAE has two, which take turns."""
    found = {n: o for n, o in vars(trainer).items() if isinstance(o, torch.optim.Optimizer)}
    if len(found) > 1:
        found.pop("optimizer")
    return found

"""Taking another run's training where this one would train the very same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_darec.errors import CheckpointError, first_line
from recbole_darec.training.checkpoint import from_plain, load_checkpoint

__all__ = ["take_trained"]

_ALIGNER = "alignment."


def take_trained(trainer: Any, path: Path, train_data: Any, *, saved: bool) -> None:
    """Put the best model of another run in the place of this run's training.

    The other run differs in methods that leave the training as it is (``leaves_training``); who
    calls knows that its options are otherwise the same.

    Args:
        trainer: of this run, which has not begun.
        path: the other run's best model.
        train_data: this run's loader.
        saved: whether this run keeps its best model.

    Raises:
        CheckpointError: the file is damaged, or of another backbone or data set.
    """
    content = load_checkpoint(path, trainer.device)
    identity = trainer.identity
    if content["model"] != identity.model or content["data"] != identity.data:
        raise CheckpointError(f"'{path}' is of another backbone or data set than this run's")
    state = content["state_dict"]
    if "+" not in content["align"] and "+" in identity.align:
        # Joined methods stand under their names.
        own = f"{_ALIGNER}{content['align']}."
        state = {
            own + name[len(_ALIGNER) :] if name.startswith(_ALIGNER) else name: value
            for name, value in state.items()
        }
    try:
        left = trainer.model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a table of another shape
        raise CheckpointError(f"'{path}' does not fit this model: {first_line(error)}") from None
    if left.unexpected_keys or any(not name.startswith(_ALIGNER) for name in left.missing_keys):
        raise CheckpointError(
            f"'{path}' does not fit this model: it was trained with other options"
        )
    trainer.model.load_other_parameter(from_plain(content["other_parameter"]))
    trainer.eval_collector.data_collect(train_data)
    trainer.best_valid_score = content["best_valid_score"]
    trainer.best_valid_result = content["best_valid_result"]
    trainer.logger.info(f"Taking the training of '{path}', which is this run's, too")
    if saved:
        trainer._save_checkpoint(content["epoch"], verbose=False)
    trainer.best_epoch = content["epoch"]

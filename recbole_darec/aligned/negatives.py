"""Whether a backbone can learn where no negatives are drawn."""

from __future__ import annotations

from typing import Any

import torch

from recbole_darec.aligned.access import one_interaction, undisturbed
from recbole_darec.aligned.altered import backbone_name
from recbole_darec.errors import OptionError

__all__ = ["check_negatives"]


def check_negatives(model: Any, config: Any, dataset: Any) -> None:
    """Ask a backbone for the loss of a batch without what the run lacks, where it draws nothing.

    Args:
        model: the backbone with its mixin.
        config: of the run.
        dataset: the training part, which may have labels.

    Raises:
        OptionError: the backbone learns from negatives or labels, and the run has none.
    """
    sampling = config["train_neg_sample_args"]
    if sampling and str(sampling.get("distribution")).lower() != "none":
        return
    label = config["LABEL_FIELD"]
    missing = {model.NEG_ITEM_ID: "pairs with an item that was not taken; leave the option out"}
    if label not in dataset.inter_feat:
        missing[label] = (
            f"labels, and the data set has no column '{label}'; leave the option out, or make "
            "labels with threshold={COLUMN: NUMBER}"
        )
    batch = one_interaction(model, config)
    for name in missing:
        batch.interaction.pop(name, None)
    model.to(model.device)
    with undisturbed(model), torch.no_grad():
        try:
            model.backbone_loss(batch.to(model.device))
        except KeyError as error:
            wanted = missing.get(error.args[0] if error.args else None)
            if wanted is not None:
                raise OptionError(
                    f"train_neg_sample_args=None: the model '{backbone_name(type(model))}' learns "
                    f"from {wanted}"
                ) from None
        except Exception:
            return  # some steps want a trainer's first; training tells any other fault

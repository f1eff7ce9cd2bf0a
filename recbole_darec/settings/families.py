"""What a family of backbones asks of options that all of them have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_darec.errors import OptionError
from recbole_darec.settings.run_options import SEQUENTIAL_MASKS, SequenceOptions
from recbole_darec.settings.run_settings import Settings

__all__ = ["check_family"]

_EVAL_ARGS = SequenceOptions.RECBOLE_DEFAULTS["eval_args"]


def check_family(settings: Settings) -> None:
    """Refuse options of a run that its backbone's family cannot follow.

    Raises:
        OptionError: in one line, with the way out.
    """
    mask = settings.evaluation.eval_mask
    sequential = settings.family == "sequential"
    if (mask in SEQUENTIAL_MASKS) != sequential:
        own = SEQUENTIAL_MASKS if sequential else ("train", "train_valid")
        raise OptionError(
            f"eval_mask={mask} is not for the {settings.family} model '{settings.model}': take "
            f"{', '.join(own[:-1])} or {own[-1]}"
        )
    if sequential:
        if settings.run.train_noise:
            raise OptionError(
                f"train_noise={settings.run.train_noise:g} adds pairs without a time, and the "
                f"sequential model '{settings.model}' learns from the order: leave it out"
            )
        assert isinstance(settings.of_family, SequenceOptions)
        if settings.values.get("transform") is not None:
            raise OptionError(
                f"transform={settings.values['transform']} changes the sequences of a batch, which "
                "is not done here: leave it out"
            )
        _check_split(settings.values)
        _check_loss(settings.values, settings.of_family.rank_loss)


def _check_split(values: dict[str, Any]) -> None:
    if values.get("benchmark_filename") is not None:
        raise OptionError(
            f"benchmark_filename={values['benchmark_filename']} is a fixed split, which says "
            "nothing of the order: a sequential model needs one file with times, as 'prepare "
            "--split leave-one-out' and 'import sequences' write it (benchmark_filename: ~)"
        )
    args = values["eval_args"] = {**_EVAL_ARGS, **(values.get("eval_args") or {})}
    order = args["order"]
    if order != "TO":
        raise OptionError(
            f"eval_args: order={order} shuffles a sequential model's interactions: set order to "
            "TO, by time"
        )
    if args["split"] != _EVAL_ARGS["split"]:
        raise OptionError(
            f"eval_args: a sequential model is tested on each user's last item, not on a split "
            f"{args['split']}: set split to {_EVAL_ARGS['split']}"
        )
    mode = args["mode"]
    if mode != "full" and set(getattr(mode, "values", lambda: [mode])()) != {"full"}:
        raise OptionError(
            f"eval_args: mode={mode} samples candidates, and a sequential model ranks all items: "
            "set mode to full"
        )
    if values.get("cold_items"):
        raise OptionError(
            f"cold_items={values['cold_items']} holds items out of general models; a sequential "
            "model's test is each user's last item: leave it out"
        )
    if values.get("split_seed") is not None:
        raise OptionError(
            f"split_seed={values['split_seed']} goes with a random split, and a sequential model's "
            "is by time: leave it out"
        )


def _check_loss(values: Mapping[str, Any], rank_loss: str) -> None:
    if values.get("loss_type") is not None:
        raise OptionError(
            f"loss_type={values['loss_type']} is RecBole's: say rank_loss=ce, bpr or bce"
        )
    if "train_neg_sample_args" not in values:
        return
    sampling = values["train_neg_sample_args"]
    if rank_loss == "ce":
        if sampling is not None:
            raise OptionError(
                "rank_loss=ce ranks a target among all items and takes no negatives: leave "
                "train_neg_sample_args out, or set rank_loss=bce"
            )
        return
    plain = {"distribution": "uniform", "sample_num": 1, "dynamic": False}
    if not isinstance(sampling, dict) or any(
        sampling.get(key, value) != value for key, value in plain.items()
    ):
        raise OptionError(
            f"train_neg_sample_args={sampling}: a sequential model draws one negative a target, "
            "uniformly: leave it out, or set rank_loss=ce for none"
        )

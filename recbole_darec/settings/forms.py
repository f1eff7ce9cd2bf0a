"""Options of RecBole whose value has a form of its own, checked before RecBole reads it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from recbole_darec.errors import OptionError, nearest

__all__ = ["check_forms"]

_STATES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_OF_VALUES = ("auc", "mae", "rmse", "logloss")
_DUPLICATES = ("first", "last")
_CLIPPING = ("max_norm", "norm_type", "error_if_nonfinite", "foreach")
_SAMPLING = ("distribution", "sample_num", "alpha", "dynamic", "candidate_num")
_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
_INTERVALS = ("user_inter_num_interval", "item_inter_num_interval")
_INTERVAL = re.compile(r"[\[(]\s*([^,\s]+)\s*,\s*([^,\s]+)\s*[\])]")


def check_forms(values: Mapping[str, Any]) -> None:
    """Refuse values that RecBole would read in another way, or end on while it trains.

    Raises:
        OptionError: in one line, with the option and a value that is read.
    """
    state = values.get("state")
    if state is not None and str(state).upper() not in _STATES:
        raise OptionError(f"state={state} is no level of a log: {', '.join(_STATES)}")
    kept = values.get("rm_dup_inter")
    if kept is not None and kept not in _DUPLICATES:
        raise OptionError(f"rm_dup_inter={kept}: say which row of a pair is kept, first or last")
    _check_encoding(values.get("encoding"))
    for name in ("field_separator", "seq_separator"):
        if values.get(name) == "":
            raise OptionError(f"{name}='' separates nothing: atomic files have a tab and a space")
    threshold = values.get("threshold")
    if threshold is not None and len(threshold) != 1:
        raise OptionError(f"threshold={threshold} must name one column, as in {{'rating': 4}}")
    if values.get("normalize_field") and values.get("normalize_all"):
        raise OptionError("normalize_field and normalize_all exclude each other: leave one out")
    if values.get("enable_scaler") and not values.get("enable_amp"):
        raise OptionError(
            "enable_scaler=True scales the loss of mixed precision: give enable_amp=True too, or "
            "leave it out"
        )
    changed = values.get("profile_components") or values.get("profile_whiten", "none") != "none"
    if changed and values.get("cold_items"):
        raise OptionError(
            "cold_items ranks items by profiles that took no part in the run, and "
            "profile_components and profile_whiten change those that did: leave one of them out"
        )
    _check_modes(values)
    _check_labels(values)
    _check_keys(values.get("clip_grad_norm"), "clip_grad_norm", _CLIPPING)
    _check_sampling(values.get("train_neg_sample_args"))
    for key in _INTERVALS:
        _check_interval(values.get(key), key)
    ranges = values.get("val_interval")
    if ranges is not None and not isinstance(ranges, dict):
        raise OptionError(
            f"val_interval={ranges!r} must name fields, as in {{'rating': '[3,inf)'}}"
        )
    for name, interval in (ranges or {}).items():
        _check_interval(interval, f"val_interval: {name}")


def _check_encoding(name: str | None) -> None:
    try:
        "".encode("utf-8" if name is None else name)
    except (LookupError, UnicodeError, ValueError):
        raise OptionError(
            f"encoding={name} is none that Python knows: utf-8, latin-1 and cp1252 are usual"
        ) from None


def _modes(values: Mapping[str, Any]) -> Collection[Any]:
    mode = (values.get("eval_args") or {}).get("mode")
    found = mode.values() if isinstance(mode, dict) else [mode]
    return [one for one in found if one is not None]


def _check_modes(values: Mapping[str, Any]) -> None:
    for mode in _modes(values):
        if not _MODE.fullmatch(str(mode)):
            raise OptionError(
                f"eval_args: mode={mode} is none of full, uni100 (100 candidates drawn uniformly), "
                "pop100 (by popularity) and labeled"
            )


def _check_labels(values: Mapping[str, Any]) -> None:
    """Refuse metrics of ranked lists where labelled pairs are evaluated, and the reverse."""
    metrics, modes = values.get("metrics") or [], _modes(values)
    ranked = [m for m in metrics if str(m).lower() not in _OF_VALUES]
    valued = [m for m in metrics if str(m).lower() in _OF_VALUES]
    if valued and "full" in (modes or ["full"]):  # RecBole's default
        raise OptionError(
            f"{valued[0]} is of labelled pairs, and eval_args: mode=full ranks all items: set mode "
            "to labeled or uni100, or take metrics such as Recall and NDCG"
        )
    if ranked and "labeled" in modes:
        raise OptionError(
            f"eval_args: mode=labeled evaluates labelled pairs, and {ranked[0]} is of ranked "
            "lists: set metrics to AUC, MAE, RMSE or LogLoss, or mode to full"
        )


def _check_keys(given: Any, name: str, known: Collection[str]) -> None:
    for key in given if isinstance(given, dict) else ():
        if key not in known:
            raise OptionError(
                f"{name}: unknown key '{key}'{nearest(str(key), known)}; there are "
                f"{', '.join(known)}"
            )


def _check_sampling(given: Any) -> None:
    _check_keys(given, "train_neg_sample_args", _SAMPLING)
    if not isinstance(given, dict):
        return
    for key, least in (("sample_num", 1), ("candidate_num", 0)):
        number = given.get(key, least)
        if number == "none" and str(given.get("distribution")).lower() == "none":
            continue  # what RecBole writes where it draws none
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise OptionError(
                f"train_neg_sample_args: {key}={number} must be a whole number, at least {least}"
            )


def _check_interval(text: Any, name: str) -> None:
    if text is None:
        return
    for part in str(text).split(";"):
        found = _INTERVAL.fullmatch(part.strip())
        ends = [] if found is None else [_number(end) for end in found.groups()]
        low, high = ends if ends and None not in ends else (None, None)
        if low is None or high is None:
            raise OptionError(
                f"{name}={text} is no interval: write [3,inf), (0,5] or several with ';' between "
                "them"
            )
        if low > high or (low == high and part.strip()[0] + part.strip()[-1] != "[]"):
            raise OptionError(
                f"{name}={text} is an empty interval: its ends are {low:g} and {high:g}"
            )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

"""The params file of a tuning, held against the run: nothing misspelt, nothing without effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_darec.alignment.registry import aligner_names, aligner_options
from recbole_darec.errors import OptionError, UserError, nearest
from recbole_darec.resolve import resolve
from recbole_darec.resources import properties_dir
from recbole_darec.settings.effects import read_by
from recbole_darec.settings.options import option_names
from recbole_darec.settings.run_options import WITHOUT_EFFECT
from recbole_darec.settings.run_settings import Settings
from recbole_darec.studies.fingerprint import data_files
from recbole_darec.studies.space import Range, read_ranges
from recbole_darec.studies.suggestions import ends

__all__ = ["params_file", "ranges_of"]

# What decides how a trial is measured or where its files are is the same for all trials.
_OF_ALL_TRIALS = frozenset(
    {"model", "dataset", "data_path", "metrics", "topk", "valid_metric", "eval_args", "eval_mask",
     "preset", "split_seed", "num_threads", "gpu_id", "use_gpu"}
)  # fmt: skip
# What decides whether a run reads profiles, and which.
_DECIDES_FILES = frozenset(
    {"align", "init", "profile_control", "profile_dir", "user_profile_file", "item_profile_file"}
)


def params_file(name: str) -> Path:
    """Return a params file, or a bundled one of ``properties/tuning/`` by its name.

    Raises:
        OptionError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = properties_dir() / "tuning"
    stem = path.name.removesuffix(".hyper")
    bundled = folder / f"{stem}.hyper"
    # As RecBole's users write it: the package's own folder, which a wheel has elsewhere.
    if bundled.is_file() and str(path.parent) in (".", "properties/tuning"):
        return bundled
    known = sorted(one.stem for one in folder.glob("*.hyper"))
    raise OptionError(
        f"params file '{name}' is neither a file nor bundled{nearest(stem, known)}; bundled are "
        f"{', '.join(known)}"
    )


def ranges_of(
    path: Path,
    model: str | None,
    dataset: str | None,
    files: Sequence[str],
    given: Mapping[str, Any],
) -> tuple[dict[str, Range], Settings]:
    """Read a params file, and hold it against the run: nothing misspelt, nothing without effect.

    Returns:
        The ranges, and the settings of a run without a choice.

    Raises:
        OptionError: a parameter is no option of this run, is given elsewhere, or may not be chosen.
        EmbeddingError: the runs need profiles, and there are none.
    """
    ranges = read_ranges(path)
    if not ranges:
        raise OptionError(
            f"params file '{path}' names no parameter: write one a line, as in "
            "'learning_rate loguniform -8,-4'"
        )
    fixed = resolve(model, dataset, files, None, given)
    where = f"params file '{path}'"
    unread = _unread(fixed)
    for name, of in ranges.items():
        if name in WITHOUT_EFFECT | _OF_ALL_TRIALS:
            raise OptionError(f"{where}: '{name}' is the same for all trials: leave it out")
        if name in given:
            raise OptionError(
                f"{where}: '{name}' is given on the command line, too, which wins: leave one out"
            )
        for value in ends(of):
            try:
                resolve(model, dataset, files, {name: value}, given)
            except UserError as error:
                reason = str(error).replace(" on config_dict", "")
                raise OptionError(f"{where}: {name}: {reason}") from None
        owner = unread.get(name)
        if owner is not None and "align" not in ranges:
            raise OptionError(f"{where}: '{name}' has no effect: {owner} does not read it")
    if not _DECIDES_FILES & set(ranges):
        data_files(fixed)
    return ranges, fixed


def _unread(fixed: Settings) -> dict[str, str]:
    """Return the options that a run accepts and does not read, with who does not read them."""
    found: dict[str, str] = {}
    if fixed.align == "none":  # which accepts every aligner's, so that a command is its own control
        own = {name for group in fixed.groups for name in option_names(type(group))}
        for aligner in aligner_names():
            names = option_names(aligner_options(aligner))
            found.update({name: "align=none" for name in names if name not in own})
    backbone = None if fixed.backbone is None else type(fixed.backbone)
    read = read_by(fixed.model, backbone)
    for name in ("embedding_size", "loss_type", "n_layers", "reg_weight", "require_pow"):
        if name not in read:
            found[name] = fixed.model
    return found

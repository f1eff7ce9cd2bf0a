"""A trained model as vectors, ready for any vector store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recbole_darec.aligned.vectors import (
    score_vectors,
    sequence_vectors,
    split_representations,
)
from recbole_darec.data.atomic import staged_folder
from recbole_darec.embeddings import write_binary
from recbole_darec.errors import OptionError
from recbole_darec.evaluation.sequential_rank import LastItems
from recbole_darec.loaded import LoadedRun, load_run
from recbole_darec.serving.newcomers import ColdSource, Newcomer, Newcomers, read_cold
from recbole_darec.serving.output import pyarrow_parquet
from recbole_darec.serving.tokens import ids_of

__all__ = ["export"]

_KINDS = ("user", "item")
_SUFFIXES = {"npy": (".npy", ".tokens"), "parquet": (".parquet",)}
INDEX = "index.json"
_USERS_AT_A_TIME = 1024  # whose sequences are read


def export(
    model_file: str | Path,
    out: str | Path,
    *,
    form: str = "both",
    overwrite: bool = False,
    cold_items: ColdSource | None = None,
    cold_users: ColdSource | None = None,
    cold_neighbours: int = 10,
    cold_by: str = "aligner",
    encoder: str | None = None,
    model: type | None = None,
) -> dict[str, Any]:
    """Write user and item vectors whose inner product is the trained model's score.

    A user of a sequential model is the sequence that :func:`recommend` asks with: all that they
    took.  Several experts stand side by side.

    The folder has ``user`` and ``item`` as ``.npy`` with ``.tokens`` (row n belongs to line n), as
    ``.parquet`` with the columns ``id`` and ``vector``, and ``index.json``, which says what they
    are.  Where the aligner splits its sides into parts (DaRec), each part has its files too, such
    as ``user.shared_c``.  Items and users that the model does not know have files of their own,
    ``cold_item`` and ``cold_user``.

    Args:
        model_file: a checkpoint that a run wrote.
        out: the folder that is made.
        form: ``npy``, ``parquet`` or ``both``.
        overwrite: replace the folder where it exists.
        cold_items, cold_users, cold_neighbours, cold_by, encoder: as for ``recommend``.
        model: the recommender class, where the run was given a class and not a name.

    Returns:
        What ``index.json`` says.

    Raises:
        OptionError: the model's scores are no inner products.
        CheckpointError: the file is damaged, or the data set has changed since.
        DataError: the folder exists, or cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    if form not in ("both", *_SUFFIXES):
        raise OptionError(f"form={form!r}: one of both, npy, parquet")
    forms = list(_SUFFIXES) if form == "both" else [form]
    parquet = pyarrow_parquet() if "parquet" in forms else None
    cold = read_cold(cold_items, cold_users)
    run = load_run(Path(model_file), {}, model)
    tables = _score_vectors(run)
    if tables is None:
        name, align = run.config["model"], run.config["align"]
        raise OptionError(
            f"the scores of {name} with --align={align} are no inner products of vectors, so there "
            "is nothing to export; 'recbole-darec recommend' ranks with any model"
        )
    parts: dict[str, Mapping[str, Tensor]] = {"": tables}
    parts.update(split_representations(run.model, tables))
    newcomers = Newcomers(run, cold_neighbours, encoder, cold_by)
    new = {kind: newcomers.given(kind, given) for kind, given in cold.items() if given is not None}
    index = _index(run, tables, parts, new, forms)
    tokens = {kind: [str(t) for t in ids_of(run.dataset, kind).tokens[1:]] for kind in _KINDS}
    written = [
        (_stem(kind, part), tokens[kind], found[kind][1:])
        for part, found in parts.items()
        for kind in _KINDS
    ]
    for kind, one in new.items():
        assert one.rows.vectors is not None  # the scores are inner products
        written.append((f"cold_{kind}", one.tokens, one.rows.vectors))
    names = {name for entry in index["files"].values() for name in entry}
    with staged_folder(Path(out), overwrite, replaceable={*names, INDEX}) as folder:
        for name, ids, vectors in written:
            rows = vectors.float().cpu().numpy()
            if "npy" in forms:
                write_binary(folder / name, ids, rows)
            if parquet is not None:
                _write_parquet(parquet, folder / f"{name}.parquet", ids, rows)
        text = json.dumps(index, indent=2, ensure_ascii=False)
        (folder / INDEX).write_text(text + "\n", encoding="utf-8")
    return index


def _score_vectors(run: LoadedRun) -> dict[str, Tensor] | None:
    """Return vectors of users and items; of a sequential model's users by all that they took."""
    if "user" in run.model.kinds:
        return score_vectors(run.model, run.config)
    users = np.arange(1, run.dataset.user_num)
    blocks = np.array_split(users, -(-len(users) // _USERS_AT_A_TIME))
    last = LastItems(run.config, run.parts)
    asked = (last.of(block) for block in blocks)
    return sequence_vectors(run.model, (batch.to(run.config["device"]) for batch in asked))


def _stem(kind: str, part: str) -> str:
    return f"{kind}.{part}" if part else kind


def _index(
    run: Any,
    tables: Mapping[str, Tensor],
    parts: Mapping[str, Any],
    new: Mapping[str, Newcomer],
    forms: list[str],
) -> dict[str, Any]:
    stems = [_stem(kind, part) for part in parts for kind in _KINDS]
    stems += [f"cold_{kind}" for kind in new]
    return {
        "metric": "inner_product",
        "width": tables["item"].shape[1],
        "dtype": "float32",
        "users": len(tables["user"]) - 1,
        "items": len(tables["item"]) - 1,
        "model": run.config["model"],
        "align": run.config["align"],
        "dataset": run.config["dataset"],
        **{
            f"cold_{kind}s": {"count": len(one.tokens), "by": one.rows.how}
            for kind, one in new.items()
        },
        "files": {
            stem: [stem + suffix for form in forms for suffix in _SUFFIXES[form]] for stem in stems
        },
    }


def _write_parquet(pyarrow: Any, path: Path, tokens: list[str], rows: np.ndarray) -> None:
    from pyarrow import parquet

    flat = pyarrow.array(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))
    vectors = pyarrow.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    parquet.write_table(pyarrow.table({"id": tokens, "vector": vectors}), path)

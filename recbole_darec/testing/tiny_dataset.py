"""A planted data set that trains in a moment and whose right answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["N_ITEMS", "N_USERS", "WIDTH", "TinyDataset", "write_tiny"]

N_USERS, N_ITEMS, WIDTH = 60, 40, 16

_PROPERTIES = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
load_col:
  inter: [user_id, item_id]
benchmark_filename: [train, valid, test]
"""


@dataclass(frozen=True)
class TinyDataset:
    """A planted data set called ``tiny``: 60 users and 40 items in two blocks.

    Attributes:
        data_path: the folder for ``--data_path``.
        folder: ``data_path / "tiny"``, with the atomic files and the profile embeddings.
        quick: command-line options of a run of one epoch that takes a moment.
    """

    data_path: Path
    folder: Path
    quick: tuple[str, ...] = (
        "--model=LightGCN",
        "--dataset=tiny",
        "--epochs=1",
        "--embedding_size=8",
        "--n_layers=1",
        "--train_batch_size=256",
        "--align_width=8",
        "--align_mlp_hidden=[8]",
        "--align_sample=64",
        "--show_progress=False",
    )


def write_tiny(data_path: Path) -> TinyDataset:
    """Write the tiny data set under ``data_path``: the same bytes each time.

    A user likes the items of the own block; 6 of them are in training, 2 in validation, 2 in the
    test part. The profile embeddings say the block, in noise; they are float16, ``[60, 16]`` for
    users ``u0`` to ``u59`` and ``[40, 16]`` for items ``i0`` to ``i39``.
    """
    rng = np.random.RandomState(5)
    folder = data_path / "tiny"
    folder.mkdir(parents=True)
    lines: dict[str, list[str]] = {part: [] for part in ("train", "valid", "test")}
    for user in range(N_USERS):
        own = np.arange(user % 2, N_ITEMS, 2)
        # One item is fixed, so that each item is in training; the others are drawn.
        fixed = own[(user // 2) % len(own)]
        chosen = [fixed, *rng.choice(own[own != fixed], 9, replace=False)]
        for part, items in (("train", chosen[:6]), ("valid", chosen[6:8]), ("test", chosen[8:])):
            lines[part] += [f"u{user}\ti{item}\n" for item in items]
    for part, rows in lines.items():
        (folder / f"tiny.{part}.inter").write_text(
            "user_id:token\titem_id:token\n" + "".join(rows), encoding="utf-8"
        )
    (folder / "tiny.yaml").write_text(_PROPERTIES, encoding="utf-8")
    block = rng.standard_normal((2, WIDTH))
    for kind, letter, count in (("user", "u", N_USERS), ("item", "i", N_ITEMS)):
        matrix = block[np.arange(count) % 2] + 0.3 * rng.standard_normal((count, WIDTH))
        np.save(folder / f"tiny.{kind}emb.npy", matrix.astype(np.float16))
        (folder / f"tiny.{kind}emb.tokens").write_text(
            "".join(f"{letter}{n}\n" for n in range(count)), encoding="utf-8"
        )
    return TinyDataset(data_path, folder)

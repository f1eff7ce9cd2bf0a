"""A planted data set of sequences: what comes next is known, and is not what is popular."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbole_darec.testing.tiny_dataset import WIDTH, TinyDataset

__all__ = ["write_tiny_sequences"]

_N_USERS, _N_ITEMS = 60, 40

_PROPERTIES = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp
load_col:
  inter: [user_id, item_id, timestamp]
benchmark_filename: ~
eval_args: {split: {LS: valid_and_test}, group_by: user, order: TO, mode: full}
"""


def write_tiny_sequences(data_path: Path) -> TinyDataset:
    """Write the tiny data set ``tiny`` of sequences under ``data_path``: the same bytes each time.

    60 users walk over 40 items that stand in a circle: from item n to n + 1, rarely to another one,
    5 to 14 items each, from a place of their own.  The items' profile embeddings, float16
    ``[40, 16]``, say the place on the circle, in noise; the users have none.
    """
    rng = np.random.RandomState(5)
    folder = data_path / "tiny"
    folder.mkdir(parents=True)
    lines = []
    for user in range(_N_USERS):
        place = user % _N_ITEMS
        for rank in range(5 + user % 10):
            lines.append(f"u{user}\ti{place}\t{rank + 1}\n")
            place = (place + 1) % _N_ITEMS if rng.random_sample() < 0.9 else rng.randint(_N_ITEMS)
    (folder / "tiny.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines), encoding="utf-8"
    )
    (folder / "tiny.yaml").write_text(_PROPERTIES, encoding="utf-8")
    angle = 2 * np.pi * np.arange(_N_ITEMS) / _N_ITEMS
    turns = np.arange(1, WIDTH // 2 + 1)[:, None] * angle
    matrix = np.concatenate([np.cos(turns), np.sin(turns)]).T
    matrix = matrix + 0.1 * rng.standard_normal(matrix.shape)
    np.save(folder / "tiny.itememb.npy", matrix.astype(np.float16))
    (folder / "tiny.itememb.tokens").write_text(
        "".join(f"i{n}\n" for n in range(_N_ITEMS)), encoding="utf-8"
    )
    return TinyDataset(data_path, folder)

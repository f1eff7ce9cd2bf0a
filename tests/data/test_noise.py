"""Random interactions: what is drawn, and what a run with ``train_noise`` trains on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli, TinyDataset
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import prepared

from recbole_darec.data.noise import random_pairs
from recbole_darec.errors import OptionError

PAIRS = st.sets(st.tuples(st.integers(1, 6), st.integers(1, 7)), max_size=30)


@given(taken=PAIRS, share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_free_pairs_are_drawn_once(taken: set[tuple[int, int]], share: float, seed: int) -> None:
    table = np.array(sorted(taken), dtype=np.int64).reshape(-1, 2)
    free = {(user, item) for user in range(1, 7) for item in range(1, 8)} - taken
    wanted = round(share * len(free))
    users, items = random_pairs(table[:, 0], table[:, 1], 7, 8, wanted, seed)
    drawn = list(zip(users.tolist(), items.tolist()))
    assert len(drawn) == len(set(drawn)) == wanted
    assert set(drawn) <= free
    again = random_pairs(table[::-1, 0], table[::-1, 1], 7, 8, wanted, seed)
    np.testing.assert_array_equal(again, (users, items))


def test_every_free_pair_has_the_same_chance() -> None:
    taken = np.array([[1, 1], [2, 3], [3, 3]])
    counts = np.zeros((4, 4))
    for seed in range(1200):
        users, items = random_pairs(taken[:, 0], taken[:, 1], 4, 4, 2, seed)
        counts[users, items] += 1
    found = counts[1:, 1:]
    assert found[tuple((taken - 1).T)].sum() == 0
    rest = found[found > 0]
    assert len(rest) == 6
    # 400 each: sd of a count is about 16.
    assert np.abs(rest - 400).max() < 80


def test_too_many_are_refused() -> None:
    everything = np.array([[1, 1], [1, 2], [2, 1]])
    with pytest.raises(OptionError, match="only 1 pairs"):
        random_pairs(everything[:, 0], everything[:, 1], 3, 3, 2, 0)


def pairs(part: object) -> list[tuple[int, int]]:
    feat = part.inter_feat  # type: ignore[attr-defined]
    return list(zip(feat["user_id"].tolist(), feat["item_id"].tolist()))


def test_only_the_training_part_gets_them(tiny_dataset: TinyDataset) -> None:
    clean = prepared(tiny_dataset.data_path)
    noisy = prepared(tiny_dataset.data_path, train_noise=0.1)
    before, after = pairs(clean.train_data._dataset), pairs(noisy.train_data._dataset)
    added = after[len(before) :]
    assert after[: len(before)] == before
    assert len(added) == round(0.1 * len(before)) > 0
    everywhere = {*before, *pairs(clean.valid_data._dataset), *pairs(clean.test_data._dataset)}
    assert not everywhere & set(added)
    for part in ("valid_data", "test_data"):
        assert pairs(getattr(clean, part)._dataset) == pairs(getattr(noisy, part)._dataset)
    # The graph that is propagated over has them, too.
    edges = len(before) + len(added)
    assert noisy.train_data._dataset.inter_matrix().nnz == edges
    assert clean.identity.data == noisy.identity.data
    assert clean.identity.fingerprint != noisy.identity.fingerprint


def test_the_seed_decides_which(tiny_dataset: TinyDataset) -> None:
    def added(**options: object) -> list[tuple[int, int]]:
        run = prepared(tiny_dataset.data_path, train_noise=0.2, **options)
        return pairs(run.train_data._dataset)[-20:]

    assert added(seed=1) == added(seed=1) == added(seed=2, train_noise_seed=1)
    assert added(seed=1) != added(seed=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train_noise=1.5"], "train_noise=1.5 must be at least 0 and at most 1"),
        (["--train_noise=much"], "is not a"),
        (["--model=SASRec", "--train_noise=0.1"], "train_noise=0.1 adds pairs without a time"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], words: str, tiny_dataset: TinyDataset, tmp_path: Path, run_warm: RunCli
) -> None:
    model = [] if options[0].startswith("--model") else ["--model=LightGCN"]
    done = run_warm(["train", *model, *options, "--dataset=tiny"], tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

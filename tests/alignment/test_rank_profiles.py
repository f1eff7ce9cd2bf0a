"""Each aligner's way from a profile to a row that ranks, against a loop over the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_darec.alignment.contract import Aligner, TrainedRows, Widths
from recbole_darec.alignment.registry import aligner_class
from recbole_darec.settings.options import parse_options

N, WIDTH, PROFILE = 12, 6, 9
KINDS = {"user": slice(0, 5), "item": slice(5, 5 + N)}


def made(name: str, **options: object) -> Aligner:
    torch.manual_seed(3)
    method = aligner_class(name)
    return method(
        parse_options(method.Options, options), Widths(WIDTH, WIDTH, PROFILE, tuple(KINDS))
    )


@pytest.fixture
def trained() -> TrainedRows:
    generator = torch.Generator().manual_seed(0)
    return TrainedRows(
        "item",
        torch.randn(N, WIDTH, generator=generator),
        torch.randn(N, PROFILE, generator=generator) + 0.4,
        n_nearest=3,
    )


@pytest.fixture
def new() -> Tensor:
    return torch.randn(4, PROFILE, generator=torch.Generator().manual_seed(1)) + 0.4


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


def nearest(asked: Tensor, among: Tensor, k: int) -> list[int]:
    return sorted(range(len(among)), key=lambda n: -cosine(asked, among[n]))[:k]


@torch.no_grad()
def test_con_projects_and_takes_the_trained_rows_length(trained: TrainedRows, new: Tensor) -> None:
    aligner = made("rlmrec_con")
    found = aligner.rank_profiles(new, trained)
    length = np.mean([float(row.norm()) for row in trained.rows])
    for row, profile in zip(found, new):
        assert cosine(row, aligner.modules(profile)) == pytest.approx(1.0, abs=1e-5)
        assert float(row.norm()) == pytest.approx(length, rel=1e-5)


@torch.no_grad()
def test_gen_takes_those_whose_rebuilt_profile_is_nearest(
    trained: TrainedRows, new: Tensor
) -> None:
    aligner = made("rlmrec_gen")
    rebuilt = torch.stack([aligner.modules["decoder"](row) for row in trained.rows])
    found = aligner.rank_profiles(new, trained)
    for row, profile in zip(found, new):
        expected = trained.rows[nearest(profile, rebuilt, 3)].mean(0)
        torch.testing.assert_close(row, expected)


@torch.no_grad()
def test_darec_takes_those_whose_shared_part_is_nearest(trained: TrainedRows, new: Tensor) -> None:
    aligner = made("darec", align_width=5)
    shared = torch.stack([aligner.modules["profile"].shared(p) for p in trained.profiles])
    found = aligner.rank_profiles(new, trained)
    for row, profile in zip(found, new):
        asked = aligner.modules["profile"].shared(profile)
        torch.testing.assert_close(row, trained.rows[nearest(asked, shared, 3)].mean(0))


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["add", "concat"])
def test_kar_adapts_the_profile_beside_its_neighbours_embedding(
    fusion: str, trained: TrainedRows, new: Tensor
) -> None:
    aligner = made("kar", kar_fusion=fusion)
    table = torch.randn(5 + N, WIDTH, generator=torch.Generator().manual_seed(2))
    profiles = torch.cat([torch.zeros(5, PROFILE), trained.profiles])
    rows = aligner.alter_final(table, profiles, KINDS)[KINDS["item"]]
    found = aligner.rank_profiles(new, TrainedRows("item", rows, trained.profiles, 3))
    for row, profile in zip(found, new):
        mean = table[KINDS["item"]][nearest(profile, trained.profiles, 3)].mean(0)
        adapted = aligner.modules(profile[None], "item")[0]
        expected = mean + adapted if fusion == "add" else torch.cat([mean, adapted])
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["relational", "relational_con"])
def test_neighbours_are_weighed_by_their_cosines(
    name: str, trained: TrainedRows, new: Tensor
) -> None:
    aligner = made(name, n_neighbours=4, relation_width=PROFILE)
    unit = trained.profiles / trained.profiles.norm(dim=1, keepdim=True)
    mean = unit.mean(0)  # all directions are kept, which leaves the centred cosines as they are
    centred = unit - mean
    found = aligner.rank_profiles(new, trained)
    for row, profile in zip(found, new):
        asked = profile / profile.norm() - mean
        chosen = nearest(asked, centred, 4)
        weights = [max(cosine(asked, centred[n]), 0.0) for n in chosen]
        expected = sum(w * trained.rows[n] for w, n in zip(weights, chosen)) / sum(weights)
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_profile_without_any_neighbour_has_the_least_distant_one() -> None:
    aligner = made("relational", n_neighbours=2, relation_width=2)
    profiles = torch.tensor([[1.0, 0.1, 0, 0], [1.0, -0.1, 0, 0], [1.0, 0.0, 0.1, 0]])
    trained = TrainedRows("item", torch.eye(3), profiles)
    found = aligner.rank_profiles(torch.tensor([[-1.0, 0.0, 0.0, 0.0]]), trained)
    assert bool(found.isfinite().all())
    assert float(found.sum()) == pytest.approx(1.0)


def test_who_has_a_way() -> None:
    ways = {"rlmrec_con", "rlmrec_gen", "kar", "darec", "relational", "relational_con"}
    for name in ("none", "text_filter", *ways):
        assert aligner_class(name).does("rank_profiles") == (name in ways)
    assert aligner_class("rlmrec_con+text_filter").does("rank_profiles")
    assert not aligner_class("none").does("alter_new_scores")


@torch.no_grad()
def test_a_joined_method_has_the_way_of_its_part(trained: TrainedRows, new: Tensor) -> None:
    alone, joined = made("rlmrec_con"), made("rlmrec_con+text_filter")
    joined.parts["rlmrec_con"].modules.load_state_dict(alone.modules.state_dict())
    torch.testing.assert_close(
        joined.rank_profiles(new, trained), alone.rank_profiles(new, trained)
    )

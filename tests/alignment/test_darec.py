"""DaRec: which rows its terms see, how they are weighted, and what is kept between steps."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any

import pytest
import torch

from alignment.equations import naive
from recbole_darec.alignment import equations
from recbole_darec.alignment.contract import TrainingStep, Widths
from recbole_darec.alignment.darec import DaRec, DaRecOptions
from recbole_darec.alignment.projection import TwinProjection, mlp
from recbole_darec.errors import OptionError
from recbole_darec.testing.aligner_contract import (
    N_ITEMS,
    N_USERS,
    PROFILE_WIDTH,
    WIDTH,
    embeddings,
    planted_step,
)

TERMS = ("or", "uni", "glo", "loc")
N = N_USERS + N_ITEMS


def darec(**changed: Any) -> DaRec:
    torch.manual_seed(0)
    given = {"align_width": 6, "align_mlp_hidden": [8], "n_centers": 3, "align_sample": "all"}
    return DaRec(DaRecOptions(**{**given, **changed}), Widths(WIDTH, WIDTH, PROFILE_WIDTH))


def values(aligner: DaRec, step: TrainingStep, seed: int = 7) -> dict[str, float]:
    torch.manual_seed(seed)
    return {name: float(loss.detach()) for name, loss in aligner.losses(step).items()}


def step() -> TrainingStep:
    return planted_step(embeddings())


def as_lists(rows: torch.Tensor) -> list[list[float]]:
    return rows.detach().double().tolist()


def test_the_four_terms_are_the_equations_times_lambda_and_weight() -> None:
    weights = {"weight_or": 0.5, "weight_uni": 2.0, "weight_glo": 3.0, "weight_loc": 0.25}
    aligner, here = darec(align_lambda=0.3, **weights), step()
    found = values(aligner, here)
    shared_c, specific_c = map(as_lists, aligner.modules["collaborative"](here.collaborative))
    shared_l, specific_l = map(as_lists, aligner.modules["profile"](here.profiles.float()))
    orthogonality = naive.orthogonality(specific_c, shared_c) + naive.orthogonality(
        specific_l, shared_l
    )
    uniformity = naive.uniformity(specific_c) + naive.uniformity(specific_l)
    units = [[naive.unit(row) for row in rows] for rows in (shared_c, shared_l)]
    structure = naive.global_structure(*units) / N**2
    assert found["or"] == pytest.approx(0.3 * 0.5 * orthogonality, rel=1e-4)
    assert found["uni"] == pytest.approx(0.3 * 2.0 * uniformity, rel=1e-4)
    assert found["glo"] == pytest.approx(0.3 * 3.0 * structure, rel=1e-3)


def test_the_local_term_is_that_of_the_matched_centers() -> None:
    aligner, here = darec(align_lambda=1.0, kmeans_iterations=50), step()
    first = values(aligner, here)
    # Converged, so that a second step from these centers finds the same ones.
    again = values(aligner, here)
    assert again["loc"] == pytest.approx(first["loc"], rel=1e-3)
    centers = [as_lists(aligner.modules.get_buffer(f"centers_{side}")) for side in "cl"]
    distances = [[naive.squared_distance(a, b) ** 0.5 for b in centers[1]] for a in centers[0]]
    pairs = naive.greedy(distances)
    matched = [[centers[side][pair[side]] for pair in pairs] for side in (0, 1)]
    assert again["loc"] == pytest.approx(naive.local_structure(*matched), rel=1e-3)


@pytest.mark.parametrize("term", TERMS)
def test_a_weight_of_zero_switches_its_term_off_and_no_other(term: str) -> None:
    every = values(darec(), step())
    assert tuple(every) == TERMS
    left = values(darec(**{f"weight_{term}": 0.0}), step())
    assert left == {name: value for name, value in every.items() if name != term}


def test_lambda_zero_adds_nothing_and_draws_nothing() -> None:
    aligner = darec(align_lambda=0.0, align_sample=10)
    before = torch.get_rng_state()
    assert aligner.losses(step()) == {}
    assert torch.equal(before, torch.get_rng_state())


def test_lambda_is_a_factor_on_every_term() -> None:
    one, tenth = values(darec(align_lambda=1.0), step()), values(darec(align_lambda=0.1), step())
    for term in TERMS:
        assert tenth[term] == pytest.approx(0.1 * one[term], rel=1e-5)


@pytest.mark.parametrize("size", [N, N + 1, 10_000])
def test_a_sample_as_large_as_the_data_is_all_of_it(size: int) -> None:
    assert values(darec(align_sample=size), step()) == values(darec(align_sample="all"), step())


def test_a_sample_is_drawn_anew_each_step_without_repetition() -> None:
    aligner, here = darec(align_sample=20), step()
    torch.manual_seed(3)
    seen: dict[str, list[torch.Tensor]] = {"collaborative": [], "profile": []}
    for side, rows in seen.items():
        aligner.modules[side].register_forward_pre_hook(
            lambda _, given, rows=rows: rows.append(given[0].detach())
        )
    for _ in range(3):
        aligner.losses(here)
    table = here.collaborative.detach()
    chosen = []
    for rows_c, rows_l in zip(seen["collaborative"], seen["profile"]):
        assert rows_c.shape == (20, WIDTH)
        assert rows_l.shape == (20, PROFILE_WIDTH)
        numbers = [int((table == row).all(1).nonzero()) for row in rows_c]
        assert len(set(numbers)) == 20
        # The rows of the two sides belong to the same users and items.
        assert torch.equal(rows_l, here.profiles[numbers].to(rows_l.dtype))
        chosen.append(set(numbers))
    assert chosen[0] != chosen[1] != chosen[2]
    both = set.union(*chosen)
    assert min(both) < N_USERS <= max(both)


def test_unsampled_rows_get_no_gradient_from_a_step() -> None:
    aligner, here = darec(align_sample=10), step()
    sum(aligner.losses(here).values()).backward()
    touched = (here.collaborative.grad != 0).any(1)
    assert int(touched.sum()) == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_centers": 31}, "n_centers=31 is more than there are users (30)"),
        ({"n_centers": 9, "align_sample": 8}, "more than there are rows in align_sample (8)"),
        ({"n_centers": 30}, None),
        ({"n_centers": 8, "align_sample": 8}, None),
        ({"n_centers": 30, "align_sample": 50}, None),
    ],
)
def test_more_centers_than_users_are_refused(given: dict[str, Any], message: str | None) -> None:
    kinds = {"user": slice(0, 30), "item": slice(30, 100)}
    if message is None:
        DaRec.check_sizes(DaRecOptions(**given), kinds)
        return
    with pytest.raises(OptionError) as refused:
        DaRec.check_sizes(DaRecOptions(**given), kinds)
    assert message in str(refused.value)


def test_centers_are_remembered_in_buffers_for_the_next_step() -> None:
    aligner = darec()
    assert not bool(aligner.modules.get_buffer("centers_known"))
    values(aligner, step())
    state = aligner.modules.state_dict()
    assert bool(state["centers_known"])
    assert bool((state["centers_c"] != 0).any())
    assert bool((state["centers_l"] != 0).any())


def test_the_printed_global_term_grows_with_the_sample() -> None:
    mean = values(darec(), step())["glo"]
    printed = values(darec(global_scale="none"), step())["glo"]
    assert printed == pytest.approx(N**2 * mean, rel=1e-3)


def test_unnormalised_shared_rows_change_the_global_term_alone() -> None:
    unit, raw = values(darec(), step()), values(darec(normalize_shared=False), step())
    assert unit["glo"] != pytest.approx(raw["glo"], rel=1e-3)
    assert {k: v for k, v in unit.items() if k != "glo"} == {
        k: v for k, v in raw.items() if k != "glo"
    }


def test_the_matching_concerns_the_local_term_alone() -> None:
    differ = 0
    for seed in range(8):
        here = planted_step(embeddings(seed))
        greedy = values(darec(n_centers=6), here)
        best = values(darec(n_centers=6, center_matching="hungarian"), here)
        differ += greedy.pop("loc") != best.pop("loc")
        assert greedy == best
    assert differ, "the option changes nothing"


@pytest.mark.parametrize(
    "degenerate", ["identical rows", "zero rows", "more centers than rows", "two rows"]
)
def test_degenerate_input_gives_finite_losses_and_gradients(degenerate: str) -> None:
    here = step()
    table = here.collaborative.detach().clone()
    aligner = darec(n_centers=60) if degenerate == "more centers than rows" else darec()
    if degenerate == "identical rows":
        table[:] = table[0]
    elif degenerate == "zero rows":
        table[:] = 0.0
    elif degenerate == "two rows":
        aligner = darec(align_sample=2)
    table.requires_grad_()
    here = dataclasses.replace(here, collaborative=table)
    for _ in range(3):
        losses = aligner.losses(here)
        assert all(bool(loss.isfinite()) for loss in losses.values())
        sum(losses.values()).backward()
        assert bool(table.grad.isfinite().all())
        for parameter in aligner.modules.parameters():
            assert bool(parameter.grad.isfinite().all())


def test_users_and_items_share_each_projection() -> None:
    aligner = darec()
    names = {name.split(".")[0] for name, _ in aligner.modules.named_parameters()}
    assert names == {"collaborative", "profile"}


@pytest.mark.parametrize("hidden", [[], [8], [8, 5]])
def test_the_twin_projection_is_two_mlps_of_the_given_widths(hidden: list[int]) -> None:
    torch.manual_seed(0)
    twin, rows = TwinProjection(12, hidden, 6), torch.randn(9, 12)
    shared, specific = twin(rows)
    torch.testing.assert_close(shared, twin.shared(rows))
    torch.testing.assert_close(specific, twin.specific(rows))
    assert shared.shape == specific.shape == (9, 6)
    widths = [layer.out_features for layer in mlp(12, hidden, 6) if hasattr(layer, "out_features")]
    assert widths == [*hidden, 6]


def test_mixed_precision_gives_finite_losses_near_the_full_ones() -> None:
    full = values(darec(), step())
    aligner, here = darec(), step()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = aligner.losses(here)
    for name in ("or", "uni", "glo"):
        assert float(losses[name].detach()) == pytest.approx(full[name], rel=0.1, abs=0.02)
    sum(losses.values()).backward()
    assert bool(here.collaborative.grad.isfinite().all())


def test_uniformity_takes_its_pairs_from_as_many_rows_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    real = equations.uniformity

    def spy(rows: torch.Tensor) -> torch.Tensor:
        seen.append(len(rows))
        return real(rows)

    monkeypatch.setattr(equations, "uniformity", spy)
    for wanted, expected in ((7, 7), ("all", N), (N, N), (10_000, N)):
        seen.clear()
        found = values(darec(uniformity_sample=wanted), step())
        assert seen == [expected, expected]
        assert math.isfinite(found["uni"])


def test_the_pairs_of_a_subset_estimate_those_of_all_rows() -> None:
    whole = values(darec(), step())["uni"]
    estimates = [values(darec(uniformity_sample=N // 2), step(), seed)["uni"] for seed in range(40)]
    # The spread of 40 estimates is their own measure; six standard errors of their mean.
    error = statistics.stdev(estimates) / math.sqrt(len(estimates))
    assert abs(statistics.mean(estimates) - whole) < 6 * error + 0.02 * abs(whole)

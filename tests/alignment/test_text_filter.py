"""The text filter's fusion with a backbone's scores, and the aligners that are joined by +."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from recbole_darec.alignment.contract import Aligner, Ranking, Widths
from recbole_darec.alignment.registry import aligner_class, aligner_options
from recbole_darec.errors import OptionError
from recbole_darec.filters import searched
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.tuning import tuned_weights
from recbole_darec.filters.weights import FilterWeights
from recbole_darec.settings.options import option_names, parse_options

USERS, ITEMS, WIDTH = 20, 15, 6
FIXED: dict[str, Any] = {
    "filter_two_hops": 0.5, "filter_text": 0.3, "filter_popularity": 0.2, "filter_match": 0.2,
    "filter_user_text": 0.25, "filter_item_exponent": 0.3, "filter_neighbours": 3,
    "filter_low_pass": 0.5, "filter_low_pass_width": 4, "filter_recency": 0.0,
}  # fmt: skip


def ranking(seed: int = 0, profiles: bool = True) -> Ranking:
    rng = np.random.RandomState(seed)
    pairs = csr_matrix((rng.random_sample((USERS, ITEMS)) < 0.35).astype(np.float32))
    rows = torch.from_numpy(rng.standard_normal((USERS + ITEMS, WIDTH))).float()
    kinds = {"user": slice(0, USERS), "item": slice(USERS, USERS + ITEMS)}
    return Ranking(pairs, rows if profiles else torch.zeros(USERS + ITEMS, 1), kinds)


def made(align: str = "text_filter", **options: Any) -> Aligner:
    method = aligner_class(align)
    widths = Widths(4, 4, WIDTH, ("user", "item"))
    aligner: Aligner = method(parse_options(method.Options, options), widths)
    return aligner


def standard(rows: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0])
def test_scores_are_mixed_by_their_deviations(weight: float) -> None:
    data, users = ranking(), torch.tensor([3, 0, 11])
    scores = torch.randn(3, ITEMS, generator=torch.Generator().manual_seed(1))
    found = made(filter_weight=weight, **FIXED).alter_scores(scores, users, data)
    inputs = FilterInputs.of(
        data.interactions, data.profiles[USERS:], data.profiles[:USERS], n_neighbours=3
    )
    weights = FilterWeights(0.5, 0.3, 0.2, 0.2, 0.25, 0.3, 0.5, 4.0)
    filtered = FittedFilter(inputs, weights).scores(users.numpy()).astype(float)
    wanted = (1 - weight) * standard(scores.double().numpy()) + weight * standard(filtered)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_weight_zero_gives_the_scores_themselves() -> None:
    scores = torch.randn(2, ITEMS)
    aligner = made(filter_weight=0.0)
    assert aligner.leaves_scores()
    assert aligner.alter_scores(scores, torch.tensor([1, 2]), ranking()) is scores


def test_the_fusion_weight_is_the_best_on_validation_and_the_least_of_equals() -> None:
    data = ranking()
    for best in (0.0, 0.3, 0.5, 1.0):
        aligner = made(**FIXED)
        assert aligner.leaves_scores(), "nothing is altered before it is found"

        def validate(aligner: Aligner = aligner, best: float = best) -> float:
            return -abs(float(aligner.modules.fusion) - best)

        aligner.tune_scores(data, validate)
        assert float(aligner.modules.fusion) == pytest.approx(best)
    aligner = made(**FIXED)
    aligner.tune_scores(data, lambda: 1.0)
    assert float(aligner.modules.fusion) == 0.0


@pytest.mark.parametrize(("better", "kept"), [(0.5, 0.5), (0.0, 0.0), (None, 0.0)])
def test_the_low_pass_stays_where_validation_says_so(better: float | None, kept: float) -> None:
    """Of equally good ones, the filter without it is taken."""
    data, aligner = ranking(), made(**{**FIXED, "filter_low_pass": None})
    aligner.fitted(data)
    aligner.modules.refit(low_pass=0.5)  # as if it had been found

    def validate() -> float:
        by_weight = -abs(float(aligner.modules.fusion) - 0.6)
        return by_weight + (aligner.modules.found()["low_pass"] == better)

    aligner.tune_scores(data, validate)
    assert aligner.modules.found()["low_pass"] == kept
    assert float(aligner.modules.fusion) == pytest.approx(0.6)
    filtered = aligner.fitted(data).scores(np.arange(USERS))
    weights = FilterWeights(0.5, 0.3, 0.2, 0.2, 0.25, 0.3, kept, 4.0)
    wanted = FittedFilter(aligner.fitted(data).inputs, weights).scores(np.arange(USERS))
    np.testing.assert_allclose(filtered, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("low_pass", "match"), [(1.0, 0.2), (0.5, 0.0), (0.0, 0.2), (0.0, 0.0)])
def test_validation_leaves_out_what_it_does_not_want(
    low_pass: float, match: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without user profiles the low pass is found anew: here 0.5, and 1 beside them."""
    sought = []

    def found_weights(inputs: Any, fixed: Any) -> FilterWeights:
        sought.append(set(fixed))
        return FilterWeights(**{**fixed, "low_pass": 0.5 if "match" in fixed else 1.0})

    free = {"filter_low_pass": None, "filter_match": None, "filter_user_text": None}
    data, aligner = ranking(), made(**{**FIXED, **free})
    monkeypatch.setattr(searched, "tuned_weights", found_weights)
    aligner.fitted(data)
    aligner.modules.refit(match=0.2, user_text=0.25)  # as if they had been found

    def validate() -> float:
        found = aligner.modules.found()
        by_weight = -0.1 * abs(float(aligner.modules.fusion) - 0.6)
        by_match = 2.0 * (found["match"] == pytest.approx(match))
        return by_weight + by_match + (found["low_pass"] == pytest.approx(low_pass))

    aligner.tune_scores(data, validate)
    found = aligner.modules.found()
    assert (found["low_pass"], found["match"]) == pytest.approx((low_pass, match))
    assert found["user_text"] == (0.25 if match else 0.0), "it goes with the other user piece"
    assert (found["two_hops"], found["text"]) == pytest.approx((0.5, 0.3))
    every = set(vars(FilterWeights()))
    searches = [every - names for names in sought]
    assert searches == [{"low_pass", "match", "user_text"}, {"low_pass"}]  # the width is given


def test_weights_that_are_given_are_not_left_out() -> None:
    data, aligner = ranking(), made(**FIXED)
    calls = []
    aligner.tune_scores(data, lambda: calls.append(1) or 0.0)
    assert len(calls) == 7, "one filter: six weights w, and one beside the first of them"
    found = aligner.modules.found()
    assert (found["match"], found["user_text"]) == pytest.approx((0.2, 0.25))


def test_a_loaded_filter_ranks_as_the_saved_one_without_tuning() -> None:
    data, users, scores = ranking(2), torch.arange(USERS), torch.randn(USERS, ITEMS)
    first, second = made(), made()
    first.tune_scores(data, lambda: float(first.modules.fusion))
    second.modules.load_state_dict(first.modules.state_dict())
    found = first.alter_scores(scores, users, data)
    assert not torch.equal(found, scores)
    assert torch.equal(second.alter_scores(scores, users, data), found)


def test_a_checkpoint_from_before_the_low_pass_ranks_without_it() -> None:
    data, users, scores = ranking(2), torch.arange(USERS), torch.randn(USERS, ITEMS)
    given = {**FIXED, "filter_low_pass": 0.0, "filter_weight": 0.4}
    first, second = made(**given), made(filter_weight=0.4, filter_neighbours=3)
    first.tune_scores(data, lambda: 0.0)
    state = first.modules.state_dict()
    second.modules.load_state_dict({**state, "weights": state["weights"][:-2]})
    found = second.alter_scores(scores, users, data)
    assert torch.equal(found, first.alter_scores(scores, users, data))


def test_a_fixed_weight_is_not_validated() -> None:
    aligner = made(filter_weight=0.4, **FIXED)

    def never() -> float:
        raise AssertionError

    aligner.tune_scores(ranking(), never)
    assert float(aligner.modules.fusion) == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["filter_text", "filter_match", "filter_user_text"])
def test_a_weight_of_texts_needs_texts(name: str) -> None:
    with pytest.raises(OptionError, match=rf"{name}=0\.3 is a weight of profiles.*there are none"):
        made(**{name: 0.3}).check_ranking(ranking(profiles=False))
    made(**{name: 0.0}).check_ranking(ranking(profiles=False))


@pytest.mark.parametrize(
    ("kind", "name", "refused"),
    [
        ("item", "text", True), ("item", "match", True), ("item", "user_text", False),
        ("user", "user_text", True), ("user", "text", False), ("user", "match", False),
    ],
)  # fmt: skip
def test_a_weight_needs_the_profiles_of_its_kind(kind: str, name: str, refused: bool) -> None:
    data = ranking()
    data.profiles[data.kinds[kind]] = 0.0
    aligner = made(**{f"filter_{name}": 0.3, "filter_neighbours": 3})
    if not refused:
        aligner.check_ranking(data)
        return
    with pytest.raises(OptionError, match=rf"is a weight of {kind} profiles, and there are none"):
        aligner.check_ranking(data)


def test_recency_needs_an_order() -> None:
    data = ranking()
    aligner = made(filter_recency=0.2, filter_neighbours=3)
    with pytest.raises(OptionError, match=r"filter_recency=0\.2 goes by the order .* leave it out"):
        aligner.check_ranking(data)
    aligner.check_ranking(replace(data, order=data.interactions))
    made(filter_recency=0.0, filter_neighbours=3).check_ranking(data)


def test_tuning_needs_users_with_three_items() -> None:
    data = ranking()
    pairs = csr_matrix(np.eye(USERS, ITEMS, dtype=np.float32))
    poor = Ranking(pairs, data.profiles, data.kinds)
    with pytest.raises(
        OptionError, match="3 training items or more, and there are none: give filter_i"
    ):
        made().check_ranking(poor)
    made(**FIXED).check_ranking(poor)


# ---- joined --------------------------------------------------------------------------------------


def test_joined_methods_have_the_options_of_each() -> None:
    joined = option_names(aligner_options("rlmrec_con+text_filter"))
    wanted = [
        n for part in ("rlmrec_con", "text_filter") for n in option_names(aligner_options(part))
    ]
    assert sorted(joined) == sorted(wanted)
    method = aligner_class("rlmrec_con+text_filter")
    assert method.alters("scores")
    assert not method.alters("final")
    assert method.needs_embeddings()
    assert not aligner_class("text_filter").needs_embeddings()


def test_joined_losses_are_the_parts_own() -> None:
    from recbole_darec.testing.aligner_contract import embeddings, planted_step

    widths = Widths(8, 8, 12, ("user", "item"))
    found = []
    for align in ("rlmrec_con", "rlmrec_con+text_filter"):
        torch.manual_seed(4)
        method = aligner_class(align)
        aligner = method(parse_options(method.Options, {}), widths)
        torch.manual_seed(5)
        losses = aligner.losses(planted_step(embeddings()))
        found.append({name: float(loss.detach()) for name, loss in losses.items()})
    assert found[0]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kar+relational", "kar and relational both change the representation"),
        ("darec+darec", "must join different methods"),
        ("none+text_filter", "must join different methods, and not none"),
        ("text_filter+relationa", "unknown align 'relationa'.*did you mean 'relational'"),
    ],
)
def test_methods_that_clash_are_refused(name: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        aligner_class(name)


class Memory(dict):  # type: ignore[type-arg]
    """What a run keeps beside its data, here for one test."""

    def keep(self, key: str, numbers: Any) -> None:
        self[key] = list(numbers)


def test_weights_are_found_once_for_the_same_data_and_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sought = []

    def counted(inputs: Any, fixed: Any) -> FilterWeights:
        sought.append(fixed)
        return tuned_weights(inputs, fixed)

    monkeypatch.setattr(searched, "tuned_weights", counted)
    memory, few = Memory(), {"filter_neighbours": 3}

    def found(data: Ranking, **options: Any) -> list[float]:
        aligner = made(filter_weight=0.5, **{**few, **options})
        aligner.fitted(replace(data, found_before=memory))
        return list(aligner.modules.found().values())

    first = found(ranking())
    assert found(ranking()) == first
    assert len(sought) == 1
    other = ranking()
    other.profiles[0, 0] += 1.0
    order = replace(ranking(), order=ranking().interactions)
    for data, options in (
        (ranking(seed=1), {}), (other, {}), (order, {}), (ranking(), {"filter_text": 0.0}),
        (ranking(), {"filter_neighbours": 4}), (ranking(), {"filter_width": 3}),
    ):  # fmt: skip
        before = len(sought)
        found(data, **options)
        assert len(sought) == before + 1
    assert len(memory) == len(sought) == 7
    (key, *_) = memory
    memory[key] = [0.1]  # of a version with other weights
    assert found(ranking()) == first

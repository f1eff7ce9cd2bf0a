"""TextFilter and TextEASE: fitted without epochs, from interactions and profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from tiny_runs import prepared, scores

from recbole_darec import load_data_and_model, run_recbole_darec
from recbole_darec.errors import OptionError
from recbole_darec.filters.ease import ease, text_ease
from recbole_darec.filters.fitted import FittedFilter
from recbole_darec.filters.inputs import FilterInputs
from recbole_darec.filters.weights import FilterWeights
from recbole_darec.numerics.rows import unit_rows
from recbole_darec.run import Prepared
from recbole_darec.testing.tiny_runs import options

MODELS = pytest.mark.parametrize("model", ["TextFilter", "TextEASE"])
FIXED = {
    "filter_two_hops": 0.5,
    "filter_text": 0.3,
    "filter_popularity": 0.2,
    "filter_match": 0.1,
    "filter_user_text": 0.25,
    "filter_item_exponent": 0.3,
    "filter_low_pass": 0.5,
    "filter_low_pass_width": 4,
}


def run(data: Any, model: str, align: str = "none", **changed: Any) -> Prepared:
    return prepared(data.data_path, model, align=align, **changed)


def profiles(data: Any, found: Prepared) -> tuple[torch.Tensor, torch.Tensor]:
    """The tables' rows in the order of the run's ids."""
    rows = {}
    for kind, letter in (("user", "u"), ("item", "i")):
        table = torch.from_numpy(np.load(data.folder / f"tiny.{kind}emb.npy"))
        tokens = found.dataset.field2id_token[f"{kind}_id"][1:]
        rows[kind] = table[[int(token.removeprefix(letter)) for token in tokens]]
    return rows["user"], rows["item"]


def test_the_filter_is_the_one_of_the_formulas(tiny_dataset: Any) -> None:
    found = run(tiny_dataset, "TextFilter", **FIXED)
    users, items = profiles(tiny_dataset, found)
    inputs = FilterInputs.of(found.model.interactions, items, users)
    weights = FilterWeights(*torch.tensor([0.5, 0.3, 0.2, 0.1, 0.25, 0.3, 0.5, 4.0]).tolist())
    wanted = FittedFilter(inputs, weights).scores(np.arange(60))
    np.testing.assert_allclose(scores(found)[:, 1:], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("share", "mu"), [(0.0, 3.0), (0.4, 3.0), (1.0, 20.0)])
def test_ease_is_the_closed_form(share: float, mu: float, tiny_dataset: Any) -> None:
    given = {"text_share": share, "reg_weight": mu, "text_reg_weight": 0.7}
    found = run(tiny_dataset, "TextEASE", **given)
    x = found.model.interactions.toarray().astype(np.float64)
    _, items = profiles(tiny_dataset, found)
    rows = unit_rows(items.float()).numpy()
    weights = (
        text_ease(x.T @ x, rows, mu=mu, kappa=share * mu, regularisation=0.7)
        if share
        else ease(x.T @ x, mu)
    )
    np.testing.assert_allclose(scores(found)[:, 1:], x @ weights, rtol=1e-4, atol=1e-5)


@MODELS
def test_it_finds_what_is_planted(
    model: str, tiny_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = options(tiny_dataset.data_path, align="none")
    given.pop("epochs")
    result = run_recbole_darec(model, "tiny", None, given)
    # The users' blocks hold 12 items that are left; a random ranking has 0.31.
    assert result["test_result"]["recall@10"] > 0.6
    _, loaded, dataset, *_ = load_data_and_model(result["model_file"])
    again = run_recbole_darec(model, "tiny", None, given)
    assert again["test_result"] == result["test_result"]
    pairs = Interaction({"user_id": torch.tensor([3, 1, 3]), "item_id": torch.tensor([5, 2, 7])})
    everyone = loaded.full_sort_predict({"user_id": torch.tensor([1, 3])}).view(2, dataset.item_num)
    expected = everyone[[1, 0, 1], pairs["item_id"]]
    assert torch.equal(loaded.predict(pairs), expected)


@pytest.mark.parametrize(("wanted", "kept"), [(0.1, 0.1), (0.0, 0.0), (None, 0.0)])
def test_validation_decides_whether_user_profiles_stay(
    wanted: float | None, kept: float, tiny_dataset: Any
) -> None:
    free = {name: FIXED[name] for name in FIXED if name not in ("filter_match", "filter_user_text")}
    model = run(tiny_dataset, "TextFilter", **free).model
    assert model.tunes_ranking
    found = model.filter.found
    model._fitted()
    model.filter.refit(match=0.1, user_text=0.25)  # as if they had been found
    model.tune_scores(lambda: float(found()["match"] == pytest.approx(wanted)))
    assert found()["match"] == pytest.approx(kept)
    assert found()["user_text"] == (0.25 if kept else 0.0)
    scores_ = model.scores_of(np.arange(60))
    weights = FilterWeights(0.5, 0.3, 0.2, kept, 0.25 if kept else 0.0, 0.3, 0.5, 4.0)
    expected = FittedFilter(model._fitted().inputs, weights).scores(np.arange(60))
    np.testing.assert_allclose(scores_, expected, rtol=1e-5, atol=1e-5)


def test_only_what_has_something_to_find_is_tuned(tiny_dataset: Any) -> None:
    assert not run(tiny_dataset, "TextEASE").model.tunes_ranking
    assert not run(tiny_dataset, "LightGCN").model.tunes_ranking


@MODELS
@pytest.mark.parametrize("align", ["none", "text_filter"])
def test_texts_change_the_ranking_and_no_text_is_a_control(
    model: str, align: str, tiny_dataset: Any
) -> None:
    given: dict[str, Any] = {"text_share": 0.9} if model == "TextEASE" else dict(FIXED)
    if align == "text_filter":
        given |= {"filter_weight": 0.0}
    plain = scores(run(tiny_dataset, model, align, **given))
    shuffled = scores(run(tiny_dataset, model, align, **given, profile_control="shuffle"))
    assert not torch.allclose(plain, shuffled, atol=1e-3)
    if model == "TextFilter":
        given |= {"filter_text": 0.0, "filter_match": 0.0, "filter_user_text": 0.0}
    bare = scores(run(tiny_dataset, model, align, **given, profile_control="no_text"))
    assert not torch.allclose(plain, bare, atol=1e-3)
    if model == "TextEASE":
        given["text_share"] = 0.0
    assert torch.allclose(bare, scores(run(tiny_dataset, model, align, **given)), atol=1e-5)


@MODELS
def test_item_profiles_alone(model: str, tiny_dataset: Any) -> None:
    for path in tiny_dataset.folder.glob("tiny.useremb.*"):
        path.unlink()
    assert torch.isfinite(scores(run(tiny_dataset, model))).all()


@MODELS
def test_no_aligner_finds_embeddings(model: str, tiny_dataset: Any) -> None:
    with pytest.raises(OptionError, match="does not yield final embeddings"):
        run(tiny_dataset, model, "rlmrec_con")


def test_a_matrix_that_does_not_fit_is_refused(
    tiny_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available, total = 1000, 1 << 40

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    with pytest.raises(OptionError, match=r"TextEASE of 40 items takes .* GiB, and .* free"):
        run(tiny_dataset, "TextEASE")


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("TextEASE", {"reg_weight": 0.0}, "reg_weight=0 must be above 0"),
        ("TextEASE", {"text_share": 1.5}, "text_share=1.5 must be"),
        (
            "TextFilter",
            {"filter_neighbours": 41},
            "filter_neighbours=41: only 40 items have a profile",
        ),
        (
            "TextFilter",
            {"filter_text": 0.3, "profile_control": "no_text"},
            "filter_text=0.3 is a weight of profiles, and there are none",
        ),
    ],
)
def test_bad_options_are_one_line(
    model: str, given: dict[str, Any], message: str, tiny_dataset: Any
) -> None:
    with pytest.raises(OptionError, match=message):
        run(tiny_dataset, model, **given)

"""The steps of the aligner's contract before and after the backbone's propagation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny_runs import QUICK, one_batch, scores

from recbole_darec.alignment import registry
from recbole_darec.alignment.contract import Aligner, Widths
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare


class DoublesFinal(Aligner):
    """Final embeddings twice, side by side."""

    def alter_final(self, final: Any, profiles: Any, kinds: Mapping[str, slice]) -> Any:
        assert len(final) == len(profiles)
        return torch.cat([final, final], dim=1)


class AddsProfiles(Aligner):
    """Final embeddings plus a trained image of the profiles."""

    calls: ClassVar[list[bool]] = []

    def __init__(self, options: Any, widths: Widths) -> None:
        super().__init__(options, widths)
        self.modules = torch.nn.Linear(widths.profile, widths.backbone)

    def alter_final(self, final: Any, profiles: Any, kinds: Mapping[str, slice]) -> Any:
        self.calls.append(torch.is_grad_enabled())
        return final + self.modules(profiles.to(final.dtype))


class SilencesItems(Aligner):
    """Ego embeddings of the items set to zero: what is left comes from the users."""

    calls: ClassVar[list[tuple[int, int]]] = []

    def alter_ego(self, ego: Any, kinds: Mapping[str, slice]) -> Any:
        self.calls.append(tuple(ego.shape))
        altered = ego.clone()
        altered[kinds["item"]] = 0.0
        return altered


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ALIGNERS, "final", f"{__name__}:DoublesFinal")
    monkeypatch.setitem(registry.ALIGNERS, "ego", f"{__name__}:SilencesItems")
    monkeypatch.setitem(registry.ALIGNERS, "image", f"{__name__}:AddsProfiles")


@pytest.fixture
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


def prepared(data_path: Path, model: str = "LightGCN", **changed: Any) -> Prepared:
    quick = {key: value for key, value in QUICK.items() if not key.startswith("align")}
    return prepare(resolve(model, "tiny", None, {**quick, "data_path": str(data_path), **changed}))


def test_the_representation_is_altered_in_training_and_in_prediction(data_path: Path) -> None:
    plain = prepared(data_path, align="none")
    fused = prepared(data_path, align="final")
    fused.model.load_state_dict(plain.model.state_dict())
    # <(e, e), (f, f)> is twice <e, f>; row 0, the padding, scores 0.
    torch.testing.assert_close(scores(fused)[:, 1:], 2 * scores(plain)[:, 1:])
    assert not scores(fused)[:, 0].any()
    batch = one_batch(fused)
    for run in (plain, fused):
        run.model.train()
    users, items = plain.model.forward()
    wide_users, wide_items = fused.model.forward()
    torch.testing.assert_close(wide_users[1:], torch.cat([users, users], 1)[1:])
    torch.testing.assert_close(wide_items[1:], torch.cat([items, items], 1)[1:])
    losses = [float(run.model.calculate_loss(batch).detach()) for run in (plain, fused)]
    assert losses[0] != losses[1]


def test_tables_are_altered_once_for_all_batches_of_an_evaluation(data_path: Path) -> None:
    run = prepared(data_path, "BPR", align="image")
    untrained = {name: value.clone() for name, value in run.model.state_dict().items()}
    AddsProfiles.calls.clear()
    first = scores(run)
    assert torch.equal(scores(run), first)
    assert AddsProfiles.calls == [False]

    optimizer = torch.optim.Adam(run.model.parameters(), lr=0.1)
    run.model.train()
    run.model.calculate_loss(one_batch(run)).backward()
    optimizer.step()
    trained = scores(run)
    assert AddsProfiles.calls == [False, True, False]
    users, items = run.model.user_embedding.weight[1:], run.model.item_embedding.weight[1:]
    image = run.model.alignment(run.model.profile_rows.float())
    ranked = (users + image[: len(users)]) @ (items + image[len(users) :]).T
    rows = run.test_data.user_df["user_id"] - 1
    torch.testing.assert_close(trained[:, 1:], ranked[rows].detach())

    # The best model is loaded after the last one was evaluated, without a step in between.
    run.model.load_state_dict(untrained)
    assert torch.equal(scores(run), first)
    # ... and a change of the aligner alone counts too.
    with torch.no_grad():
        run.model.alignment.weight.mul_(2.0)
    assert not torch.equal(scores(run), first)


def test_the_ego_embeddings_are_altered_in_a_training_step_alone(data_path: Path) -> None:
    plain = prepared(data_path, align="none")
    masked = prepared(data_path, align="ego")
    masked.model.load_state_dict(plain.model.state_dict())
    torch.testing.assert_close(scores(masked), scores(plain))
    SilencesItems.calls.clear()
    masked.model.train()
    masked.model.calculate_loss(one_batch(masked)).backward()
    n_rows = masked.model.n_users + masked.model.n_items - 2
    assert SilencesItems.calls[0] == (n_rows, masked.model.user_embedding.embedding_dim)
    assert masked.model.user_embedding.weight.grad[1:].any()


def test_a_model_that_propagates_nothing_has_no_ego_embeddings_to_alter(data_path: Path) -> None:
    with pytest.raises(OptionError, match=r"propagat|embeddings"):
        prepared(data_path, "BPR", align="ego")

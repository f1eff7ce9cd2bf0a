"""Where a backbone and an aligner meet."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender.lightgcn import LightGCN as RecBoleLightGCN
from recbole.trainer import Trainer
from tiny_runs import one_batch, options, outcome, parameters, prepared

from recbole_darec import DaRecMixin, run_recbole_darec
from recbole_darec.aligned.altered import AlteredBackbone
from recbole_darec.aligned.classes import aligned_class
from recbole_darec.aligned.recommender import AlignedRecommender
from recbole_darec.backbones.lightgcn import LightGCN
from recbole_darec.backbones.registry import backbone_class
from recbole_darec.errors import OptionError


class DaRecLightGCN(DaRecMixin, LightGCN):
    """By hand, over this package's LightGCN."""


class DaRecStockLightGCN(DaRecMixin, RecBoleLightGCN):
    """By hand, over RecBole's own LightGCN."""


BY_HAND = pytest.mark.parametrize("cls", [DaRecLightGCN, DaRecStockLightGCN])


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


def parts_of(run: Any, batch: Any, seed: int = 4) -> dict[str, float]:
    torch.manual_seed(seed)
    run.model.train()
    parts = run.model.calculate_loss(batch)
    parts = parts if isinstance(parts, tuple) else (parts,)
    return dict(zip(run.model.loss_names, (float(part.detach()) for part in parts)))


# ---- two classes joined by hand ---------------------------------------------------------------


@BY_HAND
def test_a_class_made_by_hand_trains_in_recboles_own_trainer(cls: type, data_path: Path) -> None:
    run = prepared(data_path, cls, epochs=8)
    assert type(run.model) is cls
    trainer = Trainer(run.config, run.model)
    trainer.fit(run.train_data, run.valid_data, saved=False, show_progress=False)
    losses = list(trainer.train_loss_dict.values())
    assert losses[-1] < losses[0]
    result = trainer.evaluate(run.test_data, load_best_model=False)
    assert 0.0 < result["recall@10"] <= 1.0


@BY_HAND
def test_a_class_made_by_hand_runs_from_the_api(cls: type, data_path: Path) -> None:
    result = run_recbole_darec(cls, "tiny", config_dict=options(data_path))
    assert Path(result["model_file"]).name.startswith("LightGCN-darec-tiny-")
    assert math.isfinite(result["test_result"]["ndcg@10"])


def test_the_registry_makes_the_same_class_as_a_hand(data_path: Path) -> None:
    by_name = run_recbole_darec("LightGCN", "tiny", config_dict=options(data_path))
    by_hand = run_recbole_darec(DaRecLightGCN, "tiny", config_dict=options(data_path))
    assert outcome(by_name) == outcome(by_hand)


def test_made_classes_bear_the_names_of_their_parts() -> None:
    made = aligned_class(LightGCN, "darec")
    assert made.__name__ == "DaRecLightGCN"
    assert made.__mro__[1:5] == (DaRecMixin, AlignedRecommender, AlteredBackbone, LightGCN)
    assert aligned_class(made, "darec") is made
    assert aligned_class(LightGCN, "none").__name__ == "LightGCN"


# ---- one propagation --------------------------------------------------------------------------


@pytest.mark.parametrize("align", ["none", "darec"])
def test_a_step_propagates_once_and_aligns_what_it_ranked_with(
    align: str, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import recbole_darec.backbones.lightgcn as module

    run = prepared(data_path, align=align)
    made: list[torch.Tensor] = []
    plain = module.aggregate_layers

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        made.append(plain(*args, **kwargs))
        return made[-1]

    aligned: list[torch.Tensor] = []
    losses = run.model.aligner.losses
    monkeypatch.setattr(module, "aggregate_layers", counted)
    monkeypatch.setattr(
        run.model.aligner, "losses", lambda step: aligned.append(step.collaborative) or losses(step)
    )
    parts_of(run, one_batch(run))
    assert len(made) == 1
    assert len(aligned) == (align == "darec")
    if aligned:
        n_users = run.model.n_users
        used = torch.cat([made[0][1:n_users], made[0][n_users + 1 :]])
        assert torch.equal(aligned[0], used)
        assert aligned[0].grad_fn is not None


def test_a_step_leaves_no_graph_behind(data_path: Path) -> None:
    run = prepared(data_path)
    parts_of(run, one_batch(run))
    assert run.model._captured is None
    with torch.no_grad():
        run.model.forward()
    assert run.model._captured is None


def test_a_failing_step_leaves_no_graph_behind(data_path: Path) -> None:
    run = prepared(data_path)
    without_users = Interaction({"item_id": one_batch(run)["item_id"]})
    with pytest.raises(KeyError):
        run.model.calculate_loss(without_users)
    assert run.model._captured is None


# ---- the backbone alone -----------------------------------------------------------------------


def test_without_an_aligner_the_loss_is_the_backbones(data_path: Path) -> None:
    run = prepared(data_path, align="none")
    plain = backbone_class("LightGCN")(run.config, run.train_data._dataset)
    plain.load_state_dict(run.model.state_dict())
    batch = one_batch(run)
    ours, theirs = run.model.calculate_loss(batch), plain.calculate_loss(batch)
    assert torch.equal(ours, theirs)
    ours.backward()
    theirs.backward()
    assert torch.equal(run.model.user_embedding.weight.grad, plain.user_embedding.weight.grad)
    assert run.model.loss_names == ("base",)


def test_without_an_aligner_the_parameters_are_the_plain_backbones(data_path: Path) -> None:
    run = prepared(data_path, align="none")
    assert sorted(run.model.state_dict()) == ["item_embedding.weight", "user_embedding.weight"]


@pytest.mark.parametrize("edge_keep_rate", [1.0, 0.7])
def test_lambda_zero_is_the_backbone_alone_to_the_last_digit(
    edge_keep_rate: float, data_path: Path
) -> None:
    given = options(data_path, epochs=4, edge_keep_rate=edge_keep_rate)
    alone = run_recbole_darec("LightGCN", "tiny", config_dict={**given, "align": "none"})
    switched_off = run_recbole_darec("LightGCN", "tiny", config_dict={**given, "align_lambda": 0})
    aligned = run_recbole_darec("LightGCN", "tiny", config_dict=given)
    assert outcome(switched_off) == outcome(alone)
    assert outcome(aligned) != outcome(alone)


def test_an_aligner_leaves_the_backbones_start_as_it_is(data_path: Path) -> None:
    alone, aligned = prepared(data_path, align="none"), prepared(data_path)
    state = torch.get_rng_state()
    prepared(data_path, align="none")
    assert torch.equal(state, torch.get_rng_state())
    start = parameters(aligned.model)
    for name, value in parameters(alone.model).items():
        assert torch.equal(start[name], value)


# ---- the parts --------------------------------------------------------------------------------


def test_the_parts_are_named_and_the_base_is_last(data_path: Path) -> None:
    run, alone = prepared(data_path), prepared(data_path, align="none")
    batch = one_batch(run)
    parts = parts_of(run, batch)
    assert tuple(parts) == ("or", "uni", "glo", "loc", "base")
    assert parts_of(alone, batch) == {"base": parts["base"]}


@pytest.mark.parametrize("term", ["or", "uni", "glo", "loc"])
def test_a_weight_of_zero_switches_its_term_off(term: str, data_path: Path) -> None:
    whole, without = prepared(data_path), prepared(data_path, **{f"weight_{term}": 0})
    batch = one_batch(whole)
    every, left = parts_of(whole, batch), parts_of(without, batch)
    assert left == {name: value for name, value in every.items() if name != term}


def test_all_rows_are_a_sample_of_as_many_rows(data_path: Path) -> None:
    runs = [prepared(data_path, align_sample=size) for size in ("all", 100, 5000, 50)]
    batch = one_batch(runs[0])
    every, same, more, fewer = (parts_of(run, batch) for run in runs)
    assert every == same == more != fewer


def test_batch_rows_point_at_the_batchs_users_and_items(data_path: Path) -> None:
    run = prepared(data_path)
    batch = one_batch(run)
    users, items = (torch.arange(float(n)).view(-1, 1) for n in (61, 41))
    step = run.model._training_step(batch, {"user": users, "item": items + 1000})
    table = step.collaborative.view(-1)
    assert len(table) == 100
    assert 0.0 not in table
    assert 1000.0 not in table
    model = run.model
    assert torch.equal(table[step.batch["user"]].long(), batch[model.USER_ID])
    assert torch.equal(table[step.batch["item"]].long(), batch[model.ITEM_ID] + 1000)
    assert torch.equal(table[step.batch["neg_item"]].long(), batch[model.NEG_ITEM_ID] + 1000)


# ---- controls ---------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["shuffle", "random"])
def test_a_control_changes_the_profiles_and_not_the_backbone(control: str, data_path: Path) -> None:
    real, controlled = prepared(data_path), prepared(data_path, profile_control=control)
    before, after = parameters(real.model), parameters(controlled.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(real.model.profile_rows, controlled.model.profile_rows)
    batch = one_batch(real)
    ours, theirs = parts_of(real, batch), parts_of(controlled, batch)
    assert ours.pop("base") == theirs.pop("base")
    assert all(ours[name] != theirs[name] for name in ours)


def test_shuffled_profiles_are_the_same_rows_of_users_and_of_items(data_path: Path) -> None:
    real, controlled = prepared(data_path), prepared(data_path, profile_control="shuffle")
    for kind in real.model._kinds.values():
        ours, theirs = real.model.profile_rows[kind], controlled.model.profile_rows[kind]
        ranked = [np.array(sorted(rows.tolist())) for rows in (ours, theirs)]
        assert np.array_equal(*ranked)


# ---- models that yield no embeddings ----------------------------------------------------------

WITHOUT = ["Pop", "ItemKNN", "EASE", "NeuMF", "FISM", "DMF", "MultiVAE", "RecVAE"]


@pytest.mark.parametrize("name", WITHOUT)
def test_a_model_without_embeddings_is_refused_before_anything_is_written(
    name: str, data_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"'{name}' does not yield.*--align=none"):
        run_recbole_darec(name, "tiny", config_dict=options(data_path))
    assert sorted(p.name for p in Path().iterdir()) == ["dataset"]


@pytest.mark.parametrize("name", WITHOUT)
def test_a_model_without_embeddings_runs_alone(name: str, data_path: Path) -> None:
    given = options(data_path, align="none")
    for key in ("n_layers", "align_sample", "align_width", "align_mlp_hidden"):
        del given[key]
    first, second = (run_recbole_darec(name, "tiny", config_dict=given) for _ in range(2))
    assert outcome(first) == outcome(second)
    assert first["best_epoch"] >= 0


@pytest.mark.parametrize("name", ["SGL", "NGCF", "SpectralCF", "LightGCN", "BPR", "ENMF"])
def test_asking_a_backbone_for_its_width_disturbs_nothing(name: str, data_path: Path) -> None:
    alone, aligned = prepared(data_path, name, align="none"), prepared(data_path, name)
    for (_, one), (_, other) in zip(alone.model.named_modules(), aligned.model.named_modules()):
        assert one.training == other.training
    for key, value in parameters(alone.model).items():
        assert torch.equal(value, parameters(aligned.model)[key])
    # The next numbers that training draws are the same.
    prepared(data_path, name, align="none")
    drawn = (torch.rand(3).tolist(), np.random.rand(3).tolist())  # noqa: NPY002
    prepared(data_path, name)
    assert drawn == (torch.rand(3).tolist(), np.random.rand(3).tolist())  # noqa: NPY002

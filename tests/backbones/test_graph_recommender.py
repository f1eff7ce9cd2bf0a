"""What the seven backbones have from their base: options, parameters, L2 term, kept embeddings."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import EMBEDDING_BACKBONES, one_batch, options, prepared

from recbole_darec import recbole_compat
from recbole_darec.backbones.graph_recommender import GraphRecommender
from recbole_darec.backbones.registry import (
    backbone_class,
    backbone_options,
)
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import Prepared, prepare

TABLES = {"user_embedding.weight", "item_embedding.weight"}
# What the files of a saved model name: they must load later, too.
PARAMETERS = {
    "DCCF": {"user_intents", "item_intents"},
    "AutoCF": {f"decoder.0.{name}.weight" for name in ("query", "key", "value")},
}
KEPT = {"restore_user_e", "restore_item_e"}
CLUSTERS = {f"{kind}_{what}" for kind in ("user", "item") for what in ("centroids", "2cluster")}
# What they need on a data set of 60 users.
NEEDED: dict[str, dict[str, Any]] = {
    "NCL": {"num_clusters": 4},
    "DCCF": {"n_intents": 8},
    "AutoCF": {"n_seeds": 2, "mask_depth": 1, "mask_every": 100},
}

ALL = pytest.mark.parametrize("backbone", sorted(EMBEDDING_BACKBONES))


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory, make_tiny: Callable) -> Path:
    return make_tiny(tmp_path_factory.mktemp("base")).data_path


def run_of(data_path: Path, backbone: str, **changed: Any) -> Prepared:
    given = {"align": "none", **NEEDED.get(backbone, {}), **changed}
    return prepared(data_path, backbone, **given)


@ALL
def test_the_base_reads_the_options_that_the_registry_declares(
    backbone: str, data_path: Path
) -> None:
    cls = backbone_class(backbone)
    given = backbone_options(backbone)
    assert given is not None
    assert issubclass(cls, GraphRecommender)
    assert cls.Options is given
    model = run_of(data_path, backbone, reg_form="full").model
    assert isinstance(model.options, given)
    assert model.options.reg_form == "full"


@ALL
def test_names_in_files_of_saved_models_stay(backbone: str, data_path: Path) -> None:
    model = run_of(data_path, backbone).model
    assert set(model.state_dict()) == TABLES | PARAMETERS.get(backbone, set())
    assert set(model.other_parameter()) == KEPT | (CLUSTERS if backbone == "NCL" else set())


@pytest.mark.parametrize("backbone", ["LightGCN", "NCL", "SGL"])
def test_one_seed_initialises_the_tables_as_recbole_does(backbone: str, data_path: Path) -> None:
    run = run_of(data_path, backbone)
    module = importlib.import_module(f"recbole.model.general_recommender.{backbone.lower()}")
    recbole_compat.init_seed(run.config["seed"], True)
    stock = getattr(module, backbone)(run.config, run.train_data._dataset)
    assert not isinstance(stock, GraphRecommender)
    ours = run.model.state_dict()
    assert set(ours) == set(stock.state_dict())
    for name, value in stock.state_dict().items():
        assert torch.equal(ours[name], value), name


def test_a_weight_of_null_is_answered_in_one_line(data_path: Path) -> None:
    with pytest.raises(OptionError, match=r"reg_weight=null is no weight.*give 0 or a larger"):
        run_of(data_path, "GCCF", reg_weight=None)


# ---- L2 term -----------------------------------------------------------------------------------


def first_part(model: Any, batch: Any) -> float:
    """The part of the loss that has the L2 term: the backbone's first one."""
    torch.manual_seed(5)
    model.eval()  # no view and no mask is drawn
    if hasattr(model, "e_step"):
        model.e_step()
    parts = model.backbone_loss(batch)
    return float((parts[0] if isinstance(parts, tuple) else parts).detach())


def expected_term(model: Any, batch: Any, reg_form: str, power: bool) -> float:
    if reg_form == "full":
        tables = [p for n, p in model.named_parameters() if not n.startswith("alignment.")]
        return math.fsum(float(x) ** 2 for table in tables for x in table.detach().reshape(-1))
    named = (("user", "user_id"), ("item", "item_id"), ("item", "neg_item_id"))
    squares = [
        math.fsum(
            float(x) ** 2
            for row in batch[field].tolist()
            for x in getattr(model, f"{kind}_embedding").weight.detach()[row]
        )
        for kind, field in named
    ]
    size = len(batch["user_id"])
    return sum(squares) / size / 2 if power else sum(map(math.sqrt, squares)) / size


@ALL
@pytest.mark.parametrize("align", ["none", "darec"])
@pytest.mark.parametrize(
    ("reg_form", "power"), [("batch", False), ("full", False), ("batch", True)]
)
def test_the_l2_term_is_the_loop_over_rows_and_knows_no_aligner(
    backbone: str, align: str, reg_form: str, power: bool, data_path: Path
) -> None:
    changed = {"align": align, "reg_form": reg_form, "require_pow": power}
    run = run_of(data_path, backbone, reg_weight=0.25, **changed)
    model, batch = run.model, one_batch(run)
    without = run_of(data_path, backbone, reg_weight=0.0, **changed).model
    without.load_state_dict(model.state_dict())
    # RecBole has the choice of powers in LightGCN alone.
    wanted = 0.25 * expected_term(model, batch, reg_form, power and backbone == "LightGCN")
    assert wanted > 1e-3
    found = first_part(model, batch) - first_part(without, batch)
    assert found == pytest.approx(wanted, rel=1e-3)


# ---- kept embeddings ---------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("method", ["predict", "full_sort_predict"])
def test_an_evaluation_propagates_once_until_the_next_training_step(
    backbone: str, method: str, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(data_path, backbone)
    model, batch = run.model, one_batch(run)
    forward, passes = type(model).forward, []
    monkeypatch.setattr(
        type(model), "forward", lambda self, *args: passes.append(1) or forward(self, *args)
    )
    model.eval()
    with torch.no_grad():
        first = getattr(model, method)(batch)
        assert torch.equal(getattr(model, method)(batch), first)
    assert len(passes) == 1
    model.train()
    if backbone == "NCL":
        model.e_step()
    model.calculate_loss(batch)
    with torch.no_grad():
        model.user_embedding.weight.mul_(2.0)
        model.eval()
        assert not torch.equal(getattr(model, method)(batch), first)
    assert len(passes) == 3


@ALL
def test_scores_carry_a_gradient_where_one_is_wanted(backbone: str, data_path: Path) -> None:
    run = run_of(data_path, backbone)
    model, batch = run.model, one_batch(run)
    model.eval()
    with torch.no_grad():
        kept = model.predict(batch)
    scores = model.predict(batch)
    assert torch.equal(scores.detach(), kept)
    scores.sum().backward()
    assert bool((model.user_embedding.weight.grad != 0).any())


# ---- a backbone of one's own -------------------------------------------------------------------


class PlainTables(GraphRecommender):
    """The smallest backbone: nothing is propagated, and nothing but ``forward`` is written."""

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.split(self.get_ego_embeddings())


def test_a_forward_is_all_that_a_backbone_needs(data_path: Path) -> None:
    given = options(data_path, align="darec", reg_form="full", reg_weight=0.1)
    run = prepare(resolve(PlainTables, "tiny", None, given))
    assert run.model.loss_names == ()
    parts = run.model.calculate_loss(one_batch(run))
    assert run.model.loss_names[-1] == "base"
    assert all(part.shape == () for part in parts)


def test_a_base_without_a_forward_is_no_backbone(data_path: Path) -> None:
    run = run_of(data_path, "LightGCN")
    with pytest.raises(NotImplementedError):
        GraphRecommender(run.config, run.train_data._dataset).forward()

"""What each pair of a backbone and an alignment method must do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import EMBEDDING_BACKBONES, one_batch, options, scores

from recbole_darec import load_data_and_model, run_recbole_darec
from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.errors import OptionError
from recbole_darec.resolve import resolve
from recbole_darec.run import make_trainer, prepare

# Ours, and five of RecBole's that no line of this package names.
MODELS = {
    **{name: {} for name in EMBEDDING_BACKBONES},
    "NGCF": {},
    "DGCF": {},
    "BPR": {},
    "SimpleX": {},
    "ENMF": {"train_batch_size": 8, "dropout_prob": 0.1},
}
SMALL: dict[str, dict[str, Any]] = {
    "AutoCF": {"n_seeds": 2, "mask_depth": 1},
    "NCL": {"num_clusters": 4, "warm_up_step": 1, "m_step": 1},
}
PROPAGATE_NOTHING = {"BPR", "SimpleX", "ENMF"}
METHODS = [
    name for name in aligner_names() if name != "none" and not aligner_class(name).has_experts()
]
PAIRS = [
    (model, method)
    for model in MODELS
    for method in METHODS
    if not (model in PROPAGATE_NOTHING and aligner_class(method).alters("ego"))
]


@pytest.fixture(autouse=True)
def data_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny: Callable) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_tiny(tmp_path / "dataset").data_path


def settings_of(data_path: Path, model: str, method: str, **changed: Any) -> dict[str, Any]:
    given = options(data_path, align=method, **MODELS[model], **SMALL.get(model, {}), **changed)
    own = {"align_width", "align_mlp_hidden", "align_sample"}
    return {k: v for k, v in given.items() if method == "darec" or k not in own}


def prepared(data_path: Path, model: str, method: str, **changed: Any) -> Any:
    return prepare(resolve(model, "tiny", None, settings_of(data_path, model, method, **changed)))


def total(parts: Any) -> torch.Tensor:
    parts = parts if isinstance(parts, tuple) else (parts,)
    return torch.stack([part.sum() for part in parts]).sum()


def begin_epoch(model: Any) -> None:
    model.train()
    if hasattr(model, "e_step"):
        model.e_step()


@pytest.mark.parametrize(("model", "method"), PAIRS)
def test_a_pair_trains_both_sides_and_comes_back_as_it_was_saved(
    model: str, method: str, data_path: Path
) -> None:
    run = prepared(data_path, model, method)
    begin_epoch(run.model)
    batch = one_batch(run)
    parts = run.model.calculate_loss(batch)
    assert bool(torch.stack([p.sum() for p in parts] if isinstance(parts, tuple) else [parts])
                .isfinite().all())  # fmt: skip
    total(parts).backward()
    for name, value in run.model.named_parameters():
        assert value.grad is not None, name
        assert bool(value.grad.isfinite().all()), name
    moved = [name for name, v in run.model.named_parameters() if bool((v.grad != 0).any())]
    if any(name.startswith("alignment") for name, _ in run.model.named_parameters()):
        assert any(name.startswith("alignment") for name in moved)
    for side in ("user", "item"):
        assert any(side in name and not name.startswith("alignment") for name in moved), side

    optimizer = torch.optim.Adam(run.model.parameters(), lr=0.01)
    sums = []
    for _ in range(8):
        begin_epoch(run.model)
        epoch = 0.0
        for one in run.train_data:
            loss = total(run.model.calculate_loss(one.to(run.config["device"])))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epoch += float(loss.detach())
        sums.append(epoch)
    assert sums[-1] < sums[0]

    trainer = make_trainer(run)
    trainer._save_checkpoint(0)
    _, loaded, _, _, _, test_data = load_data_and_model(trainer.saved_model_file)
    users = test_data.user_df
    with torch.no_grad():
        again = loaded.full_sort_predict(users).view(len(users), -1)
    assert torch.equal(scores(run), again)


@pytest.mark.parametrize(("model", "method"), PAIRS)
def test_a_pair_gives_the_same_result_twice(model: str, method: str, data_path: Path) -> None:
    given = settings_of(data_path, model, method, epochs=2)
    first, second = (run_recbole_darec(model, "tiny", config_dict=given) for _ in range(2))
    assert first["test_result"] == second["test_result"]
    assert first["best_valid_result"] == second["best_valid_result"]


@pytest.mark.parametrize("model", sorted(PROPAGATE_NOTHING))
@pytest.mark.parametrize("method", [m for m in METHODS if aligner_class(m).alters("ego")])
def test_masking_needs_a_backbone_that_propagates(model: str, method: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match=f"'{model}' propagates none; take a graph model"):
        prepared(data_path, model, method)


@pytest.mark.parametrize("method", [m for m in METHODS if aligner_class(m).alters("ego")])
def test_masking_needs_a_layer(method: str, data_path: Path) -> None:
    with pytest.raises(OptionError, match="'LightGCN' propagates none"):
        prepared(data_path, "LightGCN", method, n_layers=0)

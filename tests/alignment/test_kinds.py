"""No aligner knows users and items: what it does depends on which rows are of a kind alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_darec.alignment.contract import TrainingStep, Widths
from recbole_darec.alignment.registry import aligner_class, aligner_names
from recbole_darec.errors import OptionError
from recbole_darec.settings.options import parse_options

SIZES, WIDTH, PROFILE_WIDTH = (30, 20), 8, 12
SMALL: dict[str, dict[str, Any]] = {
    "darec": {"align_width": 6, "align_mlp_hidden": [8], "n_centers": 3, "align_sample": 16},
    "relational": {"relation_width": 6, "n_neighbours": 3, "relation_weight": 0.1},
    "relational_con": {"relation_width": 6, "n_neighbours": 3, "negatives": "all"},
    "rlmrec_con": {"negatives": "all"},
}
METHODS = [
    name for name in aligner_names() if name != "none" and not aligner_class(name).has_experts()
]


def made(name: str, kinds: tuple[str, ...], **changed: Any) -> Any:
    method = aligner_class(name)
    torch.manual_seed(0)
    options = parse_options(method.Options, {**SMALL.get(name, {}), **changed})
    return method(options, Widths(WIDTH, WIDTH, PROFILE_WIDTH, kinds))


def one_step(kinds: tuple[str, ...], batch: dict[str, torch.Tensor]) -> TrainingStep:
    slices, start = {}, 0
    for kind, size in zip(kinds, SIZES):
        slices[kind] = slice(start, start + size)
        start += size
    generator = torch.Generator().manual_seed(1)
    return TrainingStep(
        collaborative=torch.randn(start, WIDTH, generator=generator).requires_grad_(),
        profiles=torch.randn(start, PROFILE_WIDTH, generator=generator),
        kinds=slices,
        batch=batch,
    )


def outcome(aligner: Any, step: TrainingStep) -> list[torch.Tensor]:
    """What ranks, and each loss with its gradient."""
    torch.manual_seed(7)
    table = step.collaborative
    rows = aligner.alter_final(aligner.alter_ego(table, step.kinds), step.profiles, step.kinds)
    found = [rows.detach()]
    losses = aligner.losses(TrainingStep(rows, step.profiles, step.kinds, step.batch))
    for loss in losses.values():
        (gradient,) = torch.autograd.grad(loss, table, retain_graph=True)
        found += [loss.detach(), gradient]
    return found


@pytest.mark.parametrize("name", METHODS)
def test_the_names_of_the_kinds_decide_nothing(name: str) -> None:
    first, second = torch.arange(10), 30 + torch.arange(10)
    known = one_step(("user", "item"), {"user": first, "item": second, "neg_item": second + 5})
    renamed = one_step(("track", "list"), {"track": first, "list": second, "neg_list": second + 5})
    expected = outcome(made(name, ("user", "item")), known)
    found = outcome(made(name, ("track", "list")), renamed)
    assert len(found) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected))


@pytest.mark.parametrize("name", METHODS)
def test_one_kind_is_enough(name: str) -> None:
    batch = {"item": torch.arange(10), "neg_item": 15 + torch.arange(10)}
    aligner, step = made(name, ("item",)), one_step(("item",), batch)
    aligner.check_sizes(aligner.options, step.kinds)
    found = outcome(aligner, step)
    assert len(found[0]) == SIZES[0]
    assert all(bool(tensor.isfinite().all()) for tensor in found)


def test_too_many_centers_are_counted_in_the_kind_that_there_is() -> None:
    aligner = made("darec", ("item",), n_centers=12, align_sample="all")
    with pytest.raises(OptionError, match=r"n_centers=12 is more than there are items \(10\)"):
        aligner.check_sizes(aligner.options, {"item": slice(0, 10)})

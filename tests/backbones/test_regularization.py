"""L2 terms beside RecBole's, and contrasts of like rows as an accelerator takes them."""

from __future__ import annotations

import pytest
import torch
from recbole.model.loss import EmbLoss

from recbole_darec.backbones import autocf, views
from recbole_darec.backbones.regularization import batch_norms
from recbole_darec.numerics.rows import shares_of_like_ids


@pytest.mark.parametrize("squared", [True, False])
def test_batch_norms_are_recboles(squared: bool) -> None:
    drawn = torch.randn(3, 7, 4, dtype=torch.float64, requires_grad=True)
    found, expected = (
        batch_norms(list(drawn), squared=squared),
        EmbLoss()(*drawn, require_pow=squared),
    )
    assert found.shape == ()
    torch.testing.assert_close(found, expected[0].double(), rtol=1e-6, atol=0)
    (one,) = torch.autograd.grad(found, drawn)
    (other,) = torch.autograd.grad(expected.sum(), drawn)
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_an_accelerators_contrasts_are_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = torch.randn(2, 9, 4, dtype=torch.float64).unbind()
    ids = torch.tensor([3, 1, 3, 8, 3, 1])

    def contrasts() -> list[torch.Tensor]:
        return [
            views.contrast_within_batch(first, second, ids, 0.2),
            autocf.mean_log_sum_exp(first, second, ids, distinct=True),
        ]

    expected = contrasts()
    for module in (views, autocf):
        monkeypatch.setattr(
            module, "distinct_with_weights", lambda ids, n: (ids, *shares_of_like_ids(ids, n))
        )
    for found, wanted in zip(contrasts(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)

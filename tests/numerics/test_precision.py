"""Products in full precision where two results are compared, and no denormal numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.model.sequential_recommender import SASRec

from recbole_darec import recommend, run_recbole_darec
from recbole_darec.numerics.precision import exact_products, flushed_denormals
from recbole_darec.testing.tiny_runs import options
from recbole_darec.testing.tiny_sequences import write_tiny_sequences


@pytest.fixture(autouse=True)
def _precision_afterwards() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def product() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(256, 256, generator=generator) for _ in range(2))
    return first @ second


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_those_of_full_precision_and_the_setting_is_put_back(precision: str) -> None:
    torch.set_float32_matmul_precision("highest")
    expected = product()
    torch.set_float32_matmul_precision(precision)
    faster = product()
    with exact_products():
        assert torch.equal(product(), expected)
    assert torch.equal(product(), faster)
    assert torch.get_float32_matmul_precision() == precision
    with pytest.raises(KeyError), exact_products():
        raise KeyError
    assert torch.get_float32_matmul_precision() == precision


@pytest.mark.skipif(
    not hasattr(torch.backends.mkldnn, "matmul"), reason="this PyTorch has one setting alone"
)
def test_a_setting_by_its_newer_names_is_put_back() -> None:
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        with exact_products():
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def smallest() -> float:
    """A number below the smallest normal one, as a product has it."""
    return float(torch.tensor(1e-20) * torch.tensor(1e-20))


def test_denormal_numbers_are_flushed_within_and_stay_without() -> None:
    assert smallest() > 0.0
    with flushed_denormals():
        assert smallest() == 0.0
        with flushed_denormals():
            assert smallest() == 0.0
        assert smallest() == 0.0
        assert float(torch.tensor(1e-30) * 1e-7) > 0.0
    assert smallest() > 0.0
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError
    assert smallest() > 0.0


def test_a_training_step_and_an_evaluation_flush_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_tiny_sequences(tmp_path / "dataset").data_path
    monkeypatch.chdir(tmp_path)
    seen: dict[str, set[float]] = {}

    def watched(name: str) -> None:
        stock = getattr(SASRec, name)

        def noting(self: Any, *args: Any) -> Any:
            seen.setdefault(name, set()).add(smallest())
            return stock(self, *args)

        monkeypatch.setattr(SASRec, name, noting)

    watched("calculate_loss")
    watched("full_sort_predict")
    given = {**options(data, align="none"), "hidden_size": 8, "inner_size": 8, "epochs": 1}
    file = run_recbole_darec("SASRec", "tiny", None, given)["model_file"]
    assert 0.0 in seen["calculate_loss"]  # a look at the model before the training has others
    assert seen.pop("full_sort_predict") == {0.0}
    recommend(str(file), ["u3"], 3)
    assert seen["full_sort_predict"] == {0.0}
    assert smallest() > 0.0

"""Products in full precision where two results are compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from recbole_darec.numerics.precision import exact_products


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

"""No function of a training step reads back from the device; a GPU agrees with the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from recbole_darec.alignment import equations as eq


def one_step(
    cf: Tensor, llm: Tensor, *, warm: bool, generator: torch.Generator | None = None
) -> Tensor:
    """All alignment losses of one training step on the two sides' rows."""
    start = cf[:5].detach() if warm else None
    centers, alive = [], []
    for rows in (cf, llm):
        labels, _ = eq.kmeans(rows, 5, init_centers=start, iterations=3, generator=generator)
        means, counts = eq.centers_of(rows, labels, 5)
        centers.append(means)
        alive.append(counts > 0)
    order_c, order_l = eq.greedy_matching(eq.center_distances(*centers))
    similarity = eq.center_similarity(centers[0][order_c], centers[1][order_l])
    parts = {
        "or": eq.orthogonality(cf, llm),
        "uni": eq.uniformity(cf, block_rows=32) + eq.uniformity(llm),
        "glo": eq.global_structure(eq.unit_rows(cf), eq.unit_rows(llm)),
        "loc": eq.local_structure(similarity, alive[0][order_c] & alive[1][order_l]),
    }
    return cf.square().mean() + sum(eq.weighted_terms(parts, {}, 0.1).values())


@contextmanager
def without_data() -> Iterator[Callable[[Tensor], Tensor]]:
    """Give a function that takes a tensor's data away, shapes kept: a read of it raises."""
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    with fake.FakeTensorMode() as mode:
        yield lambda values: mode.from_tensor(values)


@pytest.mark.parametrize("warm", [True, False])
def test_a_step_needs_no_data_on_the_host(warm: bool) -> None:
    cf, llm = torch.randn(100, 8), torch.randn(100, 8)
    torch.autograd.set_detect_anomaly(False)  # it reads every gradient
    with without_data() as emptied:
        cf, llm = emptied(cf).requires_grad_(), emptied(llm).requires_grad_()
        with pytest.raises(Exception, match=r"_local_scalar_dense"):
            cf.sum().item()  # what a read would do here
        one_step(cf, llm, warm=warm).backward()
        assert cf.grad is not None
        assert cf.grad.shape == (100, 8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("warm", [True, False])
def test_a_step_on_a_gpu_agrees_with_the_cpu_and_never_waits(warm: bool) -> None:
    cf, llm = torch.randn(5000, 16), torch.randn(5000, 16)
    results = []
    for device in ("cpu", "cuda"):
        rows = [side.clone().to(device).requires_grad_() for side in (cf, llm)]
        # Drawn on the CPU in both cases, so that both start from the same centers.
        generator = torch.Generator().manual_seed(0)
        if device == "cuda" and warm:
            one_step(rows[0], rows[1], warm=True)  # libraries may wait while they are loaded
            torch.cuda.set_sync_debug_mode("error")
        try:
            value = one_step(rows[0], rows[1], warm=warm, generator=generator)
            value.backward()
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        results.append((value.cpu(), rows[0].grad.cpu()))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    difference = (results[0][1] - results[1][1]).norm() / results[0][1].norm()
    assert difference < 1e-2  # a row on a cluster's border may fall to the other side

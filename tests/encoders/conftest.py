"""A Ray cluster of this machine, for the tests that need one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_darec.ray_cluster import import_ray

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a running cluster with three cores and one GPU, as Ray counts them."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs ray (the ray extra)")
    ray = import_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        context = ray.init(
            address="local",
            num_cpus=3,
            num_gpus=1,
            include_dashboard=False,
            logging_level="critical",
            log_to_driver=False,
        )
        yield context.address_info["gcs_address"]
        ray.shutdown()

"""``objective_function`` as a trial of Ray Tune's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, TinyDataset
from tiny_runs import options

from recbole_darec import objective_function

ray = pytest.importorskip(
    "ray", minversion="2.50", reason="needs Ray 2.50: tune.report took keywords before"
)
tune = pytest.importorskip("ray.tune", reason="needs ray[tune]", exc_type=ImportError)

RATES = [0.001, 0.05]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One worker at a time, which finds the package and has one thread, as this process."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(address="local", num_cpus=1, **quiet)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_trials_report_what_the_function_returns(
    tiny_dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fixed = {**options(tiny_dataset.data_path), "model": "LightGCN", "dataset": "tiny"}

    def trial(params: dict[str, Any]) -> None:
        result = objective_function({**fixed, **params}, saved=False)
        tune.report({"valid": result["best_valid_score"], **result["test_result"]})

    tuner = tune.Tuner(
        trial,
        param_space={"learning_rate": tune.grid_search(RATES), "num_threads": 1},
        tune_config=tune.TuneConfig(metric="valid", mode="max"),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0),
    )
    found = tuner.fit()
    assert not found.errors
    here = {
        rate: objective_function({**fixed, "learning_rate": rate}, None, False) for rate in RATES
    }
    assert {result.config["learning_rate"] for result in found} == set(RATES)
    for result in found:
        expected = here[result.config["learning_rate"]]
        assert result.metrics["valid"] == expected["best_valid_score"]
        for name, value in expected["test_result"].items():
            assert result.metrics[name] == value
    best = max(RATES, key=lambda rate: here[rate]["best_valid_score"])
    assert found.get_best_result().config["learning_rate"] == best

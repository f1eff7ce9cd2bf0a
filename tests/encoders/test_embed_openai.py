"""``openai:`` encoders against a real server on loopback that makes faults by plan."""

from __future__ import annotations

import base64
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from openai_server import Fault, Plan, Server, serve, vector_for
from openai_server.plan import ERROR_FORMS

from recbole_darec.embeddings import read_table
from recbole_darec.encoders import Encoder, EncoderOptions, parse_encoder
from recbole_darec.encoders.embed import EmbedReport, EmbedRequest, embed_profiles
from recbole_darec.encoders.long_texts import cut
from recbole_darec.encoders.openai_requests import EmbeddingModel
from recbole_darec.errors import EmbeddingError
from recbole_darec.llm import client
from recbole_darec.llm.client import ServerError

pytest.importorskip("openai", reason="needs openai (the llm extra)")

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-MARKED-4f1c9e"
ADA = "openai:text-embedding-ada-002"
WIDTH = 1536


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of 50 users and 30 items, 60 different texts."""
    folder = tmp_path / "dataset" / "d"
    folder.mkdir(parents=True)
    write(folder / "d.userprofile.jsonl", [f"user number {n} likes ü{n}" for n in range(50)])
    write(folder / "d.itemprofile.jsonl", [f"item number {n % 10}" for n in range(30)])
    return folder


def write(path: Path, texts: Sequence[str]) -> None:
    lines = [json.dumps({"id": f"x{n}", "profile": text}) for n, text in enumerate(texts)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def texts_in(folder: Path, side: str) -> list[str]:
    lines = (folder / f"d.{side}profile.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["profile"] for line in lines]


def encoder_for(server: Server, text: str = ADA, **options: Any) -> Encoder:
    named = {
        name: options.pop(name) for name in ("concurrency", "retries", "timeout") if name in options
    }
    where = client.Server(base_url=server.base_url, **{"retries": 3, "timeout": 10.0, **named})
    return parse_encoder(text, EncoderOptions(server=where, **{"batch_size": 8, **options}))


def embed(folder: Path, encoder: Encoder, **more: Any) -> EmbedReport:
    request = EmbedRequest("d", folder.parent, **{"dtype": "float32", "overwrite": True, **more})
    return embed_profiles(request, encoder)


def check_rows(folder: Path, dimensions: Any = None, width: int = WIDTH) -> None:
    for side in ("user", "item"):
        rows = np.asarray(read_table(folder / f"d.{side}emb").matrix)
        expected = np.stack([vector_for(t, width, dimensions) for t in texts_in(folder, side)])
        assert rows.dtype == np.float32
        assert (rows == expected).all()


def rows_of(encoder: Encoder, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    ((_, encoded),) = encoder.encode_batches([texts])
    return encoded


# Right answers -----------------------------------------------------------------------------------


def test_rows_are_the_servers_float32_bit_for_bit_and_each_text_is_paid_once(folder: Path) -> None:
    with serve(Plan(latency_s=0.05)) as server:
        report = embed(folder, encoder_for(server, concurrency=4))
        check_rows(folder)
        assert report.encoded == 60
        assert len(server.log.embedded) == 60
        assert set(server.log.embedded.values()) == {1}
        assert server.log.requests["embeddings"] == 8  # 60 texts, 8 a request
        assert 2 <= server.log.peak_concurrency <= 4
        about = read_table(folder / "d.useremb").meta
        assert about["encoder"] == ADA
        assert about["revision"] == "text-embedding-ada-002"
        assert about["normalised"] is True
        assert "openai" in about["packages"]
        # the second run asks nothing and knows the revision all the same
        assert embed(folder, encoder_for(server)).stored == 60
        assert server.log.requests["embeddings"] == 8
        assert read_table(folder / "d.useremb").meta["revision"] == "text-embedding-ada-002"


def test_dimensions_are_asked_for_and_are_another_encoder(folder: Path) -> None:
    with serve() as server:
        embed(folder, encoder_for(server, "openai:text-embedding-3-large@1024"))
        check_rows(folder, 1024, 3072)
        embed(folder, encoder_for(server, "openai:text-embedding-3-large"))
        check_rows(folder, None, 3072)
        assert server.log.requests["embeddings"] == 16


FAULTS = [
    "shuffled",
    "short_list",
    "bad_body",
    "html_body",
    "error_body",
    "rate_limit",
    "server_error",
    "unavailable",
    "drop",
    "drop_mid_body",
    "slow",
    "delay",
    "missing_usage",
]


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_a_first_attempt_change_no_row(folder: Path, kind: str) -> None:
    with serve(Plan(faults=(Fault(kind, 0.6),), retry_after_s=0.01, slow_s=0.05)) as server:
        embed(folder, encoder_for(server))
        check_rows(folder)
        assert server.log.faults[kind] > 0


def test_a_server_that_knows_no_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    from openai_server import embeddings

    plain = embeddings._written
    monkeypatch.setattr(embeddings, "_written", lambda vector, form: plain(vector, "float"))
    with serve() as server:
        rows, _ = rows_of(encoder_for(server), ["a", "b"])
    assert (rows == np.stack([vector_for("a", WIDTH), vector_for("b", WIDTH)])).all()


@pytest.mark.parametrize("form", ERROR_FORMS)
def test_a_server_that_refuses_base64_is_asked_for_numbers(form: str) -> None:
    """As vLLM before 0.6 and llama.cpp before 2025 do."""
    with serve(Plan(vector_forms=("float",), error_form=form)) as server:
        encoder = encoder_for(server)
        for texts in (["a", "b"], ["c"]):
            rows, _ = rows_of(encoder, texts)
            assert (rows == np.stack([vector_for(text, WIDTH) for text in texts])).all()
        assert server.log.statuses == {200: 2, 400: 1}


def test_a_row_in_a_list_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from openai_server import embeddings

    plain = embeddings._written
    monkeypatch.setattr(embeddings, "_written", lambda vector, form: [plain(vector, "float")])
    with serve() as server:
        rows, _ = rows_of(encoder_for(server), ["a", "b"])
    assert (rows == np.stack([vector_for("a", WIDTH), vector_for("b", WIDTH)])).all()


# Long texts --------------------------------------------------------------------------------------


def by_halves(text: str, limit: int) -> tuple[np.ndarray, int]:
    """The row of a text that a server reads in pieces of ``limit`` words: halves of halves."""
    if len(text.split()) <= limit:
        return vector_for(text, WIDTH).astype(float), 1
    parts = cut(text, 2)
    rows, pieces = zip(*(by_halves(part, limit) for part in parts))
    weights = [-(-4 * -(-len(part) // 4) // 3) for part in parts]
    mean = np.average(rows, axis=0, weights=weights)
    return mean / np.linalg.norm(mean), sum(pieces)


def test_what_the_server_finds_too_long_is_halved_until_it_fits() -> None:
    long = " ".join(f"word{n}" for n in range(70))
    texts = [long, "short", "another short one", long + " end"]
    with serve(Plan(max_input_tokens=20)) as server:
        rows, pieces = rows_of(encoder_for(server), texts)
    for k, text in enumerate(texts):
        expected, n = by_halves(text, 20)
        assert pieces[k] == n
        np.testing.assert_allclose(rows[k], expected, atol=1e-6)
    assert pieces.tolist() == [4, 1, 1, 4]


def test_a_request_that_is_too_large_together_is_halved() -> None:
    texts = [f"text number {n}" for n in range(16)]
    with serve(Plan(max_request_tokens=13)) as server:
        rows, pieces = rows_of(encoder_for(server, batch_size=16), texts)
    assert (rows == np.stack([vector_for(text, WIDTH) for text in texts])).all()
    assert pieces.tolist() == [1] * 16


def test_the_own_limit_splits_before_anything_is_sent() -> None:
    long = " ".join(f"word{n:03}" for n in range(70))
    with serve() as server:
        _, pieces = rows_of(encoder_for(server, max_tokens=100), [long])
        assert server.log.requests["embeddings"] == 1
        assert len(server.log.embedded) == pieces[0] > 1


def test_a_server_that_finds_everything_too_long_is_given_up() -> None:
    with serve(Plan(max_input_tokens=0)) as server, pytest.raises(ServerError, match="short text"):
        rows_of(encoder_for(server), ["a text of some words", "b"])


def test_the_tokens_of_a_minute_bound_a_request() -> None:
    texts = [f"{n} " + "word " * 30 for n in range(20)]  # about 50 tokens each
    with serve() as server:
        rows_of(encoder_for(server, batch_size=20, tokens_per_minute=6000.0), texts[:12])
        assert server.log.requests["embeddings"] == 2
        assert max(server.log.arrived_tokens) <= 600


# Requests of many texts --------------------------------------------------------------------------


TOO_MANY = [  # as servers say it: status, words, how many texts they take
    (400, "batch size is invalid, it should not be larger than {limit}", 10),
    (413, "batch size {n} > maximum allowed batch size {limit}", 32),
    (422, "List should have at most {limit} items after validation, not {n}", 16),
    (400, "1 validation error: ensure this value has at most {limit} items", 10),
    (400, "Too many inputs. The max number of inputs is {limit}.", 16),
    (400, "total number of texts must be at most {limit} - received {n}", 7),
    (400, "* BatchEmbedContentsRequest.requests: at most {limit} requests can be in one batch", 9),
    (400, "the number of inputs exceeds the limit of {limit}", 5),
    (400, "Expected an array with maximum length {limit}, but got an array of {n}", 11),
]


@pytest.mark.parametrize(("status", "words", "limit"), TOO_MANY)
@pytest.mark.parametrize("form", ["openai", "detail", "text"])
def test_a_server_that_takes_fewer_texts_says_how_many(
    status: int, words: str, limit: int, form: str
) -> None:
    texts = [f"text number {n}" for n in range(40)]
    plan = Plan(max_inputs=limit, too_many=(status, words), error_form=form)
    with serve(plan) as server:
        encoder = encoder_for(server, batch_size=40, concurrency=1)
        found = dict(encoder.encode_batches([texts, [f"{text} again" for text in texts]]))
        assert server.log.requests["embeddings"] == 1 + 2 * -(-40 // limit)  # refused once
        assert set(server.log.embedded.values()) == {1}
    for number, more in enumerate(("", " again")):
        expected = np.stack([vector_for(text + more, WIDTH) for text in texts])
        assert (found[number].rows == expected).all()
        assert found[number].pieces.tolist() == [1] * 40


@pytest.mark.parametrize(
    "words", ["input数组过长", "Too many inputs in request, split into more batches.", "invalid"]
)
def test_a_server_that_does_not_say_how_many_is_asked_for_half(folder: Path, words: str) -> None:
    with serve(Plan(max_inputs=6, too_many=(400, words))) as server:
        embed(folder, encoder_for(server, batch_size=60, concurrency=1))
        check_rows(folder)
        assert set(server.log.embedded.values()) == {1}
        refused = server.log.requests["embeddings"] - len(server.log.arrived_tokens)
        assert refused <= 4  # 60, 30, 15 and 7 texts


def test_a_refusal_that_is_not_for_their_number_is_found_with_one_text(folder: Path) -> None:
    with serve() as server:
        with pytest.raises(ServerError, match=r"400.*dimensions.*check --encoder"):
            embed(folder, encoder_for(server, f"{ADA}@64", batch_size=60))
        assert server.log.requests["embeddings"] == 2


def test_a_single_text_that_is_refused_is_named() -> None:
    with serve() as server:
        encoder = encoder_for(server, batch_size=9)
        with pytest.raises(ServerError, match=r"400.*takes other texts.*the one that begins ''$"):
            rows_of(encoder, ["some text", "another", "a third", ""])


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "text", "message"),
    [
        (Plan(key="another"), ADA, r"401.*set OPENAI_API_KEY in the environment"),
        (Plan(), "openai:no-such-model", r"404.*check the model's name and --base-url"),
        (Plan(), f"{ADA}@64", r"400.*does not support specifying dimensions.*check --encoder"),
        (Plan(faults=(Fault("insufficient_quota", attempts=None),)), ADA, "no money left"),
        (Plan(faults=(Fault("server_error", attempts=None),)), ADA, r"500.*again later"),
        (Plan(faults=(Fault("drop", attempts=None),)), ADA, r"again later"),
        (
            Plan(faults=(Fault("error_body", attempts=None),)),
            ADA,
            r"refuses \(502: the model behind the gateway is out of memory\): run .* again later",
        ),
        *(
            (Plan(error_form=form), "openai:none", r"\(404: .*The model `none` does not exist")
            for form in ERROR_FORMS
        ),
    ],
)
def test_a_refusal_is_one_line(folder: Path, plan: Plan, text: str, message: str) -> None:
    with serve(plan) as server, pytest.raises(ServerError, match=message) as caught:
        embed(folder, encoder_for(server, text, retries=1))
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("*emb*"))


@pytest.mark.parametrize("kind", ["bad_body", "html_body", "short_list"])
def test_answers_that_stay_unreadable_are_given_up(folder: Path, kind: str) -> None:
    plan = Plan(faults=(Fault(kind, attempts=None),))
    with serve(plan) as server:
        with pytest.raises(EmbeddingError, match="3 answers that cannot be read"):
            embed(folder, encoder_for(server, concurrency=1))
        assert server.log.requests["embeddings"] == 3
    assert not list(folder.glob("*emb*"))


def test_what_came_before_an_error_is_paid_once(folder: Path) -> None:
    plan = Plan(script=(("user number 7 ", ("server_error",) * 9),), jitter_s=0.02)
    with serve(plan) as server:
        with pytest.raises(ServerError):
            embed(folder, encoder_for(server, retries=0, concurrency=3))
        before = len(server.log.embedded)
        server.plan = Plan()
        report = embed(folder, encoder_for(server))
        assert report.stored == before
        assert set(server.log.embedded.values()) == {1}
        check_rows(folder)


def answer(*rows: Any) -> Any:
    return SimpleNamespace(data=[SimpleNamespace(index=k, embedding=row) for k, row in rows])


def b64(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (answer((0, b64(1, 2)), (1, b64(1, np.nan))), "NaN or Inf for text number 2"),
        (answer((0, [1.0, 2.0]), (1, [1.0, float("inf")])), "NaN or Inf"),
        (answer((0, b64(1, 2)), (0, b64(1, 2))), "1 embeddings for 2 texts"),
        (answer((0, b64(1, 2)), (2, b64(1, 2))), "2 embeddings for 2 texts"),
        (answer((0, b64(1, 2)), (1, b64(1, 2, 3))), "several widths"),
        (answer((0, b64()), (1, b64())), "shape"),
        (answer((0, "%%%"), (1, b64(1))), "base64|padding|characters"),
        (answer((0, [[1.0], [2.0]]), (1, [[1.0], [2.0]])), "no list of numbers"),
        (answer((0, b64(1)), (1, b64(2))), "width 1 where 2 were asked for"),
        ("<html>", "0 embeddings for 2 texts"),
    ],
)
def test_answers_that_are_no_embeddings(given: Any, message: str) -> None:
    model = EmbeddingModel("openai:m@2", "m", 2, client.Server())
    with pytest.raises((ValueError, EmbeddingError), match=message):
        model.read(given, 2)


# The process -------------------------------------------------------------------------------------


def command(server: Server, *args: str) -> list[str]:
    return [
        *(sys.executable, "-m", "recbole_darec", "embed", "--dataset=d", f"--encoder={ADA}"),
        *(f"--base-url={server.base_url}", "--batch-size=5", *args),
    ]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENAI_LOG": "debug"}


@pytest.fixture
def many(folder: Path) -> Iterator[Path]:
    """300 different texts."""
    write(folder / "d.userprofile.jsonl", [f"user number {n}" for n in range(200)])
    write(folder / "d.itemprofile.jsonl", [f"item number {n}" for n in range(100)])
    return folder


def test_killed_runs_ask_again_only_for_what_was_under_way(many: Path, tmp_path: Path) -> None:
    concurrency, size = 3, 5
    with serve(Plan(latency_s=0.03, jitter_s=0.05)) as server:
        for share in (0.2, 0.5):
            process = subprocess.Popen(
                command(server, f"--concurrency={concurrency}"),
                cwd=tmp_path,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while process.poll() is None and len(server.log.embedded) < share * 300:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
            assert not list(many.glob("*emb*"))
        embed(many, encoder_for(server, batch_size=size))
        check_rows(many)
        asked = sum(server.log.embedded.values())
        assert len(server.log.embedded) == 300
        assert 300 <= asked <= 300 + 2 * concurrency * size


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_run_that_stops_between_two_batches_closes_its_connection_once() -> None:
    """Ctrl-C while rows are stored: nothing is left to Python's own clearing up, which warns."""
    with serve(Plan(latency_s=0.02)) as server:
        for _ in range(3):
            encoded = encoder_for(server).encode_batches([[f"text {n}"] for n in range(40)])
            next(encoded)
            encoded.close()
            gc.collect()
        assert 3 <= len(server.log.embedded) < 40
        assert [t for t in threading.enumerate() if t.name == "event loop"] == []


def test_ctrl_c_leaves_one_line_and_what_came(many: Path, tmp_path: Path) -> None:
    with serve(Plan(latency_s=0.1)) as server:
        process = subprocess.Popen(
            command(server, "--concurrency=4"),
            cwd=tmp_path,
            env={**environment(), "OPENAI_LOG": ""},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and len(server.log.embedded) < 60:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, "interrupted\n")
        assert not list(many.glob("*emb*"))
        report = embed(many, encoder_for(server))
        assert 20 <= report.stored < 300
        check_rows(many)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_key_is_in_nothing_that_is_written(folder: Path, tmp_path: Path, wrong: bool) -> None:
    with serve(Plan(key="another" if wrong else KEY, echo_key=True)) as server:
        done = subprocess.run(
            command(server), cwd=tmp_path, env=environment(), capture_output=True, timeout=120
        )
    assert done.returncode == (2 if wrong else 0), done.stderr
    written = [done.stdout, done.stderr] + [
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    ]
    assert len(written) > 4
    for content in written:
        assert KEY.encode() not in content
        assert base64.b64encode(KEY.encode()) not in content
    if wrong:
        assert not list(folder.glob("*emb*"))
        errors = [line for line in done.stderr.splitlines() if line.startswith(b"error: ")]
        assert len(errors) == 1
        assert b"401" in errors[0]

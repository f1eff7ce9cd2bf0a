"""From ``--encoder=…`` to an encoder, with one clear line for what names none."""

from __future__ import annotations

import pytest

from encoders.minilm import require_minilm
from recbole_darec.encoders import EncoderOptions, parse_encoder
from recbole_darec.errors import OptionError
from recbole_darec.llm.client import Server


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("openai:text-embedding-ada-002", "openai:text-embedding-ada-002"),
        ("openai:text-embedding-3-large@1024", "openai:text-embedding-3-large@1024"),
        ("openai:@cf/baai/bge-m3", "openai:@cf/baai/bge-m3"),
        ("openai:bge:latest", "openai:bge:latest"),
    ],
)
def test_openai(text: str, name: str) -> None:
    assert parse_encoder(text).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no encoder"),
        ("text-embedding-ada-002", r"names no encoder: write openai:MODEL"),
        ("opnai:x", r"did you mean 'openai'"),
        ("openai:", "names no model"),
        ("st: ", "names no model"),
        ("openai:text-embedding-3-large@", "'@' .* is no width"),
        ("openai:text-embedding-3-large@0", "'@0' .* is no width"),
        ("openai:text-embedding-3-large@-5", "'@-5' .* is no width"),
        ("openai:text-embedding-3-large@big", "'@big' .* is no width"),
        ("st:/no/such/folder", "is not a folder"),
    ],
)
def test_what_names_no_encoder(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_encoder(text)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("openai:x", {"devices": ("cpu",)}, "--device does not belong to an openai: encoder"),
        ("openai:x", {"workers": 2}, "--workers does not belong"),
        ("openai:x", {"ray_address": "auto"}, "--ray-address does not belong"),
        ("openai:x", {"batch_size": 2049}, "1 to 2,048 texts"),
        ("openai:x", {"max_tokens": 0}, "--max-tokens=0 must be at least 1"),
        ("st:x", {"tokens_per_minute": 5.0}, "--tokens-per-minute does not belong to an st:"),
        ("st:x", {"ray_workers": 2}, "name it with --ray-address"),
        ("st:x", {"ray_address": "auto", "workers": 2}, "give --ray-workers"),
        ("st:x", {"ray_address": "auto", "devices": ("cuda:0", "cuda:1")}, "give one --device"),
    ],
)
def test_options_that_do_not_belong_together(text: str, options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_encoder(text, EncoderOptions(**options))


def test_what_gives_other_rows_is_another_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def identity(text: str, url=None, **options) -> str:
        return parse_encoder(text, EncoderOptions(server=Server(base_url=url), **options)).identity

    different = [
        identity("openai:m"),
        identity("openai:m@256"),
        identity("openai:n"),
        identity("openai:m", "http://127.0.0.1:8000/v1"),
        identity("openai:m", max_tokens=100),
    ]
    assert len(set(different)) == len(different)
    same = [
        identity("openai:m"),
        identity("openai:m", "https://api.openai.com/v1/"),
        identity("openai:m", batch_size=7, requests_per_minute=5.0),
    ]
    assert len(set(same)) == 1


@pytest.mark.parametrize("url", ["http://me:pa55@host:81/v1?key=k3y", "http://host:81/v1/?k=k3y"])
def test_a_secret_in_the_address_is_not_in_the_identity(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert parse_encoder("openai:m").identity == "openai:m http://host:81/v1"


def test_an_address_that_is_none_is_told_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://host:port/v1")
    with pytest.raises(OptionError, match="OPENAI_BASE_URL must be as in"):
        next(parse_encoder("openai:m").encode_batches([["a"]]))


def test_sentence_transformers_by_package_and_folder_are_one_model() -> None:
    from recbole_darec.encoders.model_folder import find_model

    by_package = parse_encoder(f"st:{require_minilm()}")
    folder = find_model(require_minilm()).folder
    assert parse_encoder(f"st:{folder}").identity == by_package.identity
    assert by_package.revision is not None
    assert by_package.revision.startswith("sha256:")

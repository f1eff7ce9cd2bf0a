"""Embeddings: unit vectors that are a hash of their text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import ApiError, model_not_found
from .plan import Plan, unit

__all__ = ["embedding_list", "named", "texts_of", "vector_for"]

Input = str | tuple[int, ...]


def vector_for(text: Input, width: int, dimensions: int | None = None) -> np.ndarray:
    """The vector of ``text``: float32 of ``dimensions`` (or ``width``) numbers and length 1.

    Fewer ``dimensions`` are the first ones of the whole vector, made to length 1 again, as
    OpenAI's newer models do it.
    """
    seed = hashlib.sha256(named(text).encode("utf-8", "surrogatepass")).digest()
    drawn = np.frombuffer(hashlib.shake_256(seed).digest(4 * width), dtype="<u4")
    vector = drawn[: dimensions or width].astype(np.float64) / 2.0**31 - 1.0
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def named(text: Input) -> str:
    """The text, or its token numbers as text."""
    return text if isinstance(text, str) else " ".join(map(str, text))


def texts_of(body: Mapping[str, Any]) -> list[Input]:
    """The texts of an embedding request; one of token numbers is a tuple.

    Raises:
        ApiError: there is none, or one is empty or of another type.
    """
    given = body.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and _is_tokens(given)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise ApiError(400, "'$.input' is invalid.", param="input")
    texts: list[Input] = []
    for one in given:
        if isinstance(one, str) and one:
            texts.append(one)
        elif isinstance(one, list) and one and _is_tokens(one):
            texts.append(tuple(one))
        else:
            raise ApiError(400, "'$.input' is invalid: an empty or wrong element.", param="input")
    return texts


def embedding_list(
    plan: Plan, body: Mapping[str, Any], number: int, fault: str | None
) -> dict[str, Any]:
    """The object ``list`` of embeddings that answers ``body``.

    Raises:
        ApiError: the request is wrong, or asks for what the plan has not.
    """
    model = body.get("model")
    if not isinstance(model, str):
        raise ApiError(400, "you must provide a model parameter")
    if model not in plan.embedding_models:
        raise model_not_found(model)
    texts = texts_of(body)
    tokens = _checked_tokens(plan, texts)
    width = plan.embedding_models[model]
    dimensions = _checked_dimensions(plan, body, model, width)
    form = body.get("encoding_format") or "float"
    if form not in {"float", "base64"}:
        raise ApiError(400, f"Invalid value: '{form}'.", param="encoding_format")
    if form not in plan.vector_forms:
        raise ApiError(400, f"{form} encoding is not currently supported")
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _written(vector_for(text, width, dimensions), form),
        }
        for index, text in enumerate(texts)
    ]
    if fault == "shuffled":
        data.sort(key=lambda row: unit(plan.seed, "shuffled", number, row["index"]))
    elif fault == "short_list":
        data.pop()
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _is_tokens(value: list[Any]) -> bool:
    return all(isinstance(one, int) for one in value)


def _written(vector: np.ndarray, form: str) -> str | list[float]:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers


def _checked_tokens(plan: Plan, texts: list[Input]) -> int:
    """The tokens of all texts: words, or the given numbers."""
    if len(texts) > plan.max_inputs:
        status, words = plan.too_many
        raise ApiError(status, words.format(limit=plan.max_inputs, n=len(texts)), param="input")
    counts = [len(text.split()) if isinstance(text, str) else len(text) for text in texts]
    limit = plan.max_input_tokens
    if limit is not None and max(counts) > limit:
        raise ApiError(
            400,
            f"This model's maximum context length is {limit} tokens, however you requested "
            f"{max(counts)} tokens ({max(counts)} in your prompt; 0 for the completion). Please "
            "reduce your prompt; or completion length.",
        )
    total = sum(counts)
    if plan.max_request_tokens is not None and total > plan.max_request_tokens:
        raise ApiError(
            400,
            f"Requested {total} tokens, max {plan.max_request_tokens} tokens per request",
            type="max_tokens_per_request",
            code="max_tokens_per_request",
        )
    return total


def _checked_dimensions(plan: Plan, body: Mapping[str, Any], model: str, width: int) -> int | None:
    dimensions = body.get("dimensions")
    if dimensions is None:
        return None
    if model in plan.fixed_width:
        raise ApiError(
            400, "This model does not support specifying dimensions.", param="dimensions"
        )
    if not isinstance(dimensions, int) or not 1 <= dimensions <= width:
        raise ApiError(
            400, f"Invalid value for 'dimensions': must be from 1 to {width}.", param="dimensions"
        )
    return dimensions

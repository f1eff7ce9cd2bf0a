"""The requests of an embedding model behind the OpenAI protocol: address, sizes, vectors."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from recbole_darec.llm.client import Server

__all__ = ["MAX_INPUTS", "address_of", "request_slices", "vector_of"]

MAX_INPUTS = 2048  # texts of one request


def address_of(server: Server) -> str:
    """Return the server's address without user, password and query, which may be secrets."""
    url = server.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # told when the server is to be asked
        return "no address"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"


def request_slices(tokens: np.ndarray, most: float) -> Iterator[slice]:
    """Yield slices of the pieces that make one request each, of ``most`` tokens where it can be."""
    start, total = 0, 0
    for k, size in enumerate(tokens.tolist()):
        if k > start and (k - start == MAX_INPUTS or total + size > most):
            yield slice(start, k)
            start, total = k, 0
        total += size
    yield slice(start, len(tokens))


def vector_of(value: Any) -> np.ndarray:
    """Return one embedding, base64 of little-endian float32 or a list of numbers, as (d,)."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    vector = np.asarray(value, dtype=np.float32)
    if vector.ndim != 1:
        raise ValueError("an embedding is no list of numbers")
    return vector

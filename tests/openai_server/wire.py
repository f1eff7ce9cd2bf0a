"""HTTP/1.1 on asyncio streams: requests in, replies out, nothing about OpenAI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

__all__ = ["BadHttp", "Part", "Reply", "Request", "json_reply", "parse_multipart", "read_request"]

MAX_HEAD = 64 * 1024
MAX_BODY = 512 * 1024 * 1024
_REASONS = {int(status): status.phrase for status in HTTPStatus}


class BadHttp(Exception):
    """Bytes that are no HTTP/1.1 request; the connection cannot go on."""


class Request(NamedTuple):
    """One request: ``headers`` with names in lower case, ``query`` decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection live on."""
        return self.headers.get("connection", "").lower() != "close"


@dataclass(frozen=True)
class Reply:
    """One answer; ``headers`` beside Content-Type and those about the length."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, *, chunked: bool = False, close: bool = False) -> bytes:
        """Status line and headers, with the blank line after them."""
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(self.body)}"
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unknown')}",
            f"Content-Type: {self.content_type}",
            length,
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def json_reply(status: int, value: Any, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A reply whose body is ``value`` as JSON."""
    return Reply(status, json.dumps(value).encode("ascii"), headers=headers)


def http_date(seconds: float) -> str:
    """A point in time, in seconds since 1970, as HTTP writes it."""
    return formatdate(seconds, usegmt=True)


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """The connection's next request; None when the client has closed it.

    Raises:
        BadHttp: what came is no request, or larger than the server takes.
        ConnectionError: the connection was lost inside a request.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise BadHttp("the connection ended inside the request's head") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise BadHttp("the request's head is too long") from error
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, version = first.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, value in (line.split(":", 1) for line in lines)
        }
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise BadHttp("the request's head is malformed") from error
    if version != "HTTP/1.1":
        raise BadHttp(f"the server speaks HTTP/1.1, not {version}")
    if not 0 <= length <= MAX_BODY:
        raise BadHttp("the request's body is too long")
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await _exactly(reader, length) if length else b""
    path, _, query = target.partition("?")
    return Request(method, unquote(path), dict(parse_qsl(query)), headers, body)


async def _exactly(reader: asyncio.StreamReader, length: int) -> bytes:
    try:
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise BadHttp("the connection ended inside the request's body") from error


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks; trailers are read and dropped."""
    pieces: list[bytes] = []
    total = 0
    while True:
        line = await reader.readline()
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError as error:
            raise BadHttp("a chunk's length is malformed") from error
        total += size
        if size < 0 or total > MAX_BODY:
            raise BadHttp("the request's body is too long")
        if not size:
            break
        pieces.append((await _exactly(reader, size + 2))[:-2])
    while (await reader.readline()).strip():
        pass
    return b"".join(pieces)


class Part(NamedTuple):
    """One part of a form: its name, its file's name (None for a plain field), its bytes."""

    name: str
    filename: str | None
    content: bytes


def parse_multipart(content_type: str, body: bytes) -> list[Part]:
    """The parts of a ``multipart/form-data`` body, their content byte for byte.

    Raises:
        ValueError: it is no such body.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise ValueError("the body is not multipart/form-data with a boundary")
    # With a line break before the first boundary, all boundaries look alike.
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1"))
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the form has no end")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("a part of the form has no head")
    header = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            header[name.strip()] = value.strip()
    field = header.get_param("name", header="content-disposition")
    if not isinstance(field, str):
        raise ValueError("a part of the form has no name")
    return Part(field, header.get_filename(), content)

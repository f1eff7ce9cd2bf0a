"""The server: routes, faults and their delivery, and its life in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .batches import Batches, Files, LineAnswer
from .chat import chat_completion, prompt_hash, prompt_of
from .embeddings import embedding_list, named, texts_of
from .errors import ApiError, planned_error, wrong_key
from .plan import SILENT_KINDS, STATUS_KINDS, Plan, unit
from .record import Log
from .wire import MAX_HEAD, BadHttp, Reply, Request, json_reply, read_request

__all__ = ["Server", "serve"]

_SLOW_PIECES = 16


@dataclass(frozen=True)
class _Outcome:
    """What is to be done about one request.

    Attributes:
        reply: the answer.
        prompt: the hash of the prompt, "" where the request has none.
        fault: the fault to make, if any.
        attempt: 1 for the prompt's first request.
        paid: what the line of a paid answer says; None where nothing was completed.
        wait: draws the jitter: a number in [0, 1).
    """

    reply: Reply
    prompt: str = ""
    fault: str | None = None
    attempt: int = 0
    paid: dict[str, Any] | None = None
    wait: float = 0.0


class Server:
    """An OpenAI server on loopback; :func:`serve` starts one in a thread.

    Attributes:
        plan: may be replaced while the server runs.
        log: what it has seen.
        port: 0 before it has started.
    """

    def __init__(
        self,
        plan: Plan | None = None,
        log: str | Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """``log``: the file to which a line for each paid answer is appended."""
        self.plan = plan or Plan()
        self.log = Log(log)
        self.host = host
        self.port = 0
        self.files = Files()
        self.batches = Batches(self.files, self._answer_line, _now)
        self._asked: Counter[str] = Counter()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        """What a client takes as ``base_url``."""
        return f"http://{self.host}:{self.port}/v1"

    async def run(self, port: int, started: Callable[[Callable[[], None]], None]) -> None:
        """Serve until told to stop.

        Once the port is open, ``started`` is called with a function that makes the server stop;
        that one must be called in the event loop's thread.

        Raises:
            OSError: the port is taken.
        """
        stop = asyncio.Event()
        server = await asyncio.start_server(
            self._connection, self.host, port, limit=MAX_HEAD, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        started(stop.set)
        try:
            await stop.wait()
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self.log.close()

    # One connection ------------------------------------------------------------------------

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.log.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except BadHttp as error:
            reply = ApiError(400, str(error)).reply()
            writer.write(reply.head(close=True) + reply.body)
        except (ConnectionError, asyncio.CancelledError):
            # The client has gone, or the server stops: nobody is left to be told.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection lives on."""
        request = await read_request(reader, writer)
        if request is None:
            return False
        if request.path == "/log":
            return await self._send(request, self._summary(request), writer)
        endpoint = _endpoint(request.path)
        number = self.log.arrive(endpoint)
        with self.log.under_way():
            outcome = self._outcome(request, endpoint, number)
            if outcome.fault:
                self.log.faults[outcome.fault] += 1
            return await self._deliver(request, endpoint, number, outcome, reader, writer)

    async def _deliver(
        self,
        request: Request,
        endpoint: str,
        number: int,
        outcome: _Outcome,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        plan, fault, reply = self.plan, outcome.fault, outcome.reply
        wait = plan.latency_s + plan.jitter_s * outcome.wait
        if fault == "delay":
            wait += plan.delay_s * outcome.wait
        elif fault == "hang":
            wait += plan.hang_s
        here = await _wait(wait, reader) if wait > 0 else not _gone(reader, writer)
        if not here:
            self._abandon(endpoint, number, outcome)
            return False
        if fault in SILENT_KINDS:
            writer.transport.abort()
            return False
        if fault == "drop_mid_body":
            writer.write(reply.head() + reply.body[: len(reply.body) // 2])
            await writer.drain()
            return False
        if fault != "slow":
            self._count_sent(endpoint, number, outcome)
            return await self._send(request, reply, writer)
        try:
            await self._send_slowly(request, reply, reader, writer)
        except ConnectionError:
            self._abandon(endpoint, number, outcome)
            raise
        self._count_sent(endpoint, number, outcome)
        writer.write(b"0\r\n\r\n")
        return request.keep_alive

    def _count_sent(self, endpoint: str, number: int, outcome: _Outcome) -> None:
        """Count an answer, just before its last bytes: what a client has got is in the log."""
        self.log.statuses[outcome.reply.status] += 1
        if outcome.fault not in {"bad_body", "html_body", "error_body"}:
            self._pay(endpoint, number, outcome)

    def _pay(self, endpoint: str, number: int, outcome: _Outcome) -> None:
        if outcome.paid is not None:
            self.log.pay(endpoint, outcome.prompt, number, outcome.reply.status, outcome.paid)

    def _abandon(self, endpoint: str, number: int, outcome: _Outcome) -> None:
        """Count an answer whose client has gone."""
        self.log.abandoned += 1
        if self.plan.charge_abandoned:
            self._pay(endpoint, number, outcome)

    async def _send(self, request: Request, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        alive = request.keep_alive
        writer.write(reply.head(close=not alive) + reply.body)
        await writer.drain()
        return alive

    async def _send_slowly(
        self,
        request: Request,
        reply: Reply,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send all but the end of the chunked body, over ``slow_s`` seconds."""
        writer.write(reply.head(chunked=True, close=not request.keep_alive))
        step = max(1, -(-len(reply.body) // _SLOW_PIECES))
        for start in range(0, len(reply.body), step):
            if not await _wait(self.plan.slow_s / _SLOW_PIECES, reader):
                raise ConnectionResetError("the client has gone")
            piece = reply.body[start : start + step]
            writer.write(f"{len(piece):x}\r\n".encode("ascii") + piece + b"\r\n")
            await writer.drain()

    def _summary(self, request: Request) -> Reply:
        """The counters, for whoever runs the server as a process; no request of a client."""
        try:
            window = float(request.query.get("window", "1"))
        except ValueError:
            window = 0.0
        if not window > 0:
            return ApiError(400, "window is a number of seconds above 0").reply()
        return json_reply(200, self.log.summary(window))

    # One answer ----------------------------------------------------------------------------

    def _outcome(self, request: Request, endpoint: str, number: int) -> _Outcome:
        """The answer to one request, with the fault that the plan has for it."""
        try:
            key = self._checked_key(request)
            if endpoint in {"chat", "embeddings"}:
                return self._completion(request, endpoint, number, key)
            return self._other(request, endpoint, number, key)
        except ApiError as error:
            return _Outcome(error.reply(self.plan.error_form))

    def _checked_key(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise ApiError(
                401,
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            )
        if self.plan.key is not None and key != self.plan.key:
            raise wrong_key(self.plan, key)
        return key

    def _completion(self, request: Request, endpoint: str, number: int, key: str) -> _Outcome:
        if request.method != "POST":
            raise ApiError(405, f"Not allowed to {request.method} on {request.path}.")
        body = _json_object(request.body)
        prompt, attempt, fault = self._drawn(endpoint, body, number)
        wait = unit(self.plan.seed, "wait", prompt, attempt)
        try:
            result, paid = self._completed(endpoint, body, number, attempt, fault, key)
        except ApiError as error:
            reply = error.reply(self.plan.error_form)
            return _Outcome(reply, prompt, fault, attempt, wait=wait)
        self.log.tokens_of(number, paid["usage"]["prompt_tokens"])
        reply = json_reply(200, result, (("x-request-id", f"req_{number}"),))
        return _Outcome(_spoiled(reply, fault), prompt, fault, attempt, paid, wait)

    def _drawn(
        self, endpoint: str, body: dict[str, Any], number: int
    ) -> tuple[str, int, str | None]:
        """(hash of the prompt, number of the attempt, fault) of one request."""
        if endpoint == "chat":
            text = prompt_of(body)
        else:
            text = "\n".join(map(named, texts_of(body)))
        prompt = prompt_hash(text)
        attempt = self.log.attempt(prompt)
        return prompt, attempt, self.plan.fault(endpoint, text, prompt, attempt, number)

    def _completed(
        self,
        endpoint: str,
        body: dict[str, Any],
        number: int,
        attempt: int,
        fault: str | None,
        key: str,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """(the answer, what the line of a paid answer says)."""
        paid: dict[str, Any] = {"attempt": attempt, "fault": fault}
        if fault in STATUS_KINDS:
            raise planned_error(str(fault), self.plan, body.get("model"), key)
        if endpoint == "chat":
            result = chat_completion(self.plan, body, number, fault, _now())
        else:
            result = embedding_list(self.plan, body, number, fault)
            paid["texts"] = [prompt_hash(named(text)) for text in texts_of(body)]
        paid["usage"] = result["usage"]
        if fault == "missing_usage":
            del result["usage"]
        return result, paid

    def _other(self, request: Request, endpoint: str, number: int, key: str) -> _Outcome:
        """Models, files and batches. A fault is drawn for method and path.

        What was asked for is done even where a fault then loses the answer, as on a real server.
        """
        if endpoint == "unknown":
            raise ApiError(404, f"Invalid URL ({request.method} {request.path})")
        asked = f"{request.method} {request.path}"
        self._asked[asked] += 1
        attempt = self._asked[asked]
        fault = self.plan.fault(endpoint, asked, asked, attempt, number)
        wait = unit(self.plan.seed, "wait", asked, attempt)
        if fault in STATUS_KINDS:
            reply = planned_error(str(fault), self.plan, "", key).reply(self.plan.error_form)
        else:
            reply = _spoiled(self._routed(request), fault)
        return _Outcome(reply, "", fault, attempt, wait=wait)

    def _routed(self, request: Request) -> Reply:
        route = (request.method, *request.path.strip("/").split("/")[1:])
        name, rest = (route[0], *route[1:2]), route[2:]
        if name == ("GET", "models"):
            return json_reply(200, self._models("/".join(rest)))
        if name == ("POST", "files") and not rest:
            form = request.headers.get("content-type", "")
            return json_reply(200, self.files.upload(form, request.body, _now()).to_dict())
        if name == ("GET", "files") and not rest:
            return json_reply(200, self.files.listed(request.query))
        if name == ("GET", "files") and len(rest) == 1:
            return json_reply(200, self.files.get(rest[0]).to_dict())
        if name == ("GET", "files") and rest[1:] == ("content",):
            content = self.files.get(rest[0]).content
            return Reply(200, content, "application/octet-stream")
        if name == ("DELETE", "files") and len(rest) == 1:
            return json_reply(200, self.files.delete(rest[0]))
        if name == ("POST", "batches") and not rest:
            return json_reply(200, self.batches.create(self.plan, _json_object(request.body)))
        if name == ("GET", "batches") and not rest:
            return json_reply(200, self.batches.listed(request.query))
        if name == ("GET", "batches") and len(rest) == 1:
            return json_reply(200, self.batches.poll(self.plan, rest[0]))
        if name == ("POST", "batches") and rest[1:] == ("cancel",):
            return json_reply(200, self.batches.cancel(rest[0]))
        raise ApiError(404, f"Invalid URL ({request.method} {request.path})")

    def _models(self, wanted: str) -> dict[str, Any]:
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "loopback"}
            for name in (*self.plan.models, *self.plan.embedding_models)
        ]
        if not wanted:
            return {"object": "list", "data": models}
        for model in models:
            if model["id"] == wanted:
                return model
        raise ApiError(404, f"The model '{wanted}' does not exist", code="model_not_found")

    def _answer_line(self, url: str, body: dict[str, Any], batch_id: str) -> LineAnswer:
        """Answer, count and pay one line of a batch."""
        endpoint = _endpoint(url)
        number = len(self.log.arrivals)
        try:
            prompt, attempt, fault = self._drawn(endpoint, body, number)
            if fault:
                self.log.faults[fault] += 1
            if fault in SILENT_KINDS:
                # A line has no connection that could be lost.
                raise planned_error("server_error", self.plan, body.get("model"), "")
            result, paid = self._completed(endpoint, body, number, attempt, fault, "")
        except ApiError as error:
            return LineAnswer(error.status, error.body)
        self.log.pay(endpoint, prompt, number, 200, {**paid, "batch": batch_id})
        return LineAnswer(200, result)


def _spoiled(reply: Reply, fault: str | None) -> Reply:
    """The answer with a body that is no result, where that is the fault."""
    if fault == "bad_body":
        return Reply(200, reply.body[: len(reply.body) // 2])
    if fault == "html_body":
        return Reply(200, b"<html><body>Bad gateway</body></html>", "text/html")
    if fault == "error_body":
        error = {"message": "the model behind the gateway is out of memory", "code": 502}
        return json_reply(200, {"error": error})
    return reply


def _now() -> int:
    return int(time.time())


def _endpoint(path: str) -> str:
    if path == "/v1/chat/completions":
        return "chat"
    name = path[4:].split("/")[0] if path.startswith("/v1/") else ""
    return name if name in {"embeddings", "models", "files", "batches"} else "unknown"


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise ApiError(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise ApiError(400, "The body of your request is not a JSON object.")
    return body


def _gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the client has closed the connection, as far as the server knows yet."""
    return reader.at_eof() or reader.exception() is not None or writer.is_closing()


async def _wait(seconds: float, reader: asyncio.StreamReader) -> bool:
    """Wait; False at once when the client goes. A client that waits for an answer sends nothing."""
    try:
        return bool(await asyncio.wait_for(reader.read(1), seconds))
    except asyncio.TimeoutError:
        return True


@contextmanager
def serve(
    plan: Plan | None = None,
    log: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Server]:
    """Run a server in a thread of its own, until the block ends.

    Args:
        plan: what it can do and its faults; none without one.
        log: the file to which a line for each paid answer is appended.
        host: loopback.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    server = Server(plan, log, host)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stops: list[Callable[[], None]] = []
    failed: list[BaseException] = []

    def started(stop: Callable[[], None]) -> None:
        stops.append(stop)
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(server.run(port, started))
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run, name="openai_server", daemon=True)
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        yield server
    finally:
        if stops and thread.is_alive():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stops[0])
        thread.join()

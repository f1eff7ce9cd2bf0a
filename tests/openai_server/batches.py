"""Files and batches: kept in memory, moved on by the client's polls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import ApiError
from .plan import Plan, unit
from .wire import parse_multipart

__all__ = ["Batches", "Files", "LineAnswer"]

BATCH_ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings")
_WINDOW_S = 24 * 3600


class LineAnswer(NamedTuple):
    """The answer to one line of a batch."""

    status: int
    body: dict[str, Any]


#: (endpoint, body, id of the batch) -> the answer; counts and pays it.
Answer = Callable[[str, dict[str, Any], str], LineAnswer]


@dataclass(frozen=True)
class StoredFile:
    """An uploaded file, or one that a batch has written."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created: int

    def to_dict(self) -> dict[str, Any]:
        """The object ``file``."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """The files of a server."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}
        self._made = 0

    def add(self, filename: str, purpose: str, content: bytes, created: int) -> StoredFile:
        """Store one file under a new id."""
        self._made += 1
        stored = StoredFile(f"file-{self._made:06d}", filename, purpose, content, created)
        self._files[stored.id] = stored
        return stored

    def upload(self, content_type: str, body: bytes, created: int) -> StoredFile:
        """Store the file of a form with ``purpose`` and ``file``."""
        try:
            parts = {part.name: part for part in parse_multipart(content_type, body)}
        except ValueError as error:
            raise ApiError(400, f"Invalid form: {error}.") from error
        for name in ("purpose", "file"):
            if name not in parts:
                raise ApiError(400, f"Missing required parameter: '{name}'.", param=name)
        purpose = parts["purpose"].content.decode("utf-8", "replace")
        if purpose != "batch":
            raise ApiError(400, f"'{purpose}' is not one of ['batch']", param="purpose")
        sent = parts["file"]
        return self.add(sent.filename or "upload", purpose, sent.content, created)

    def get(self, file_id: object) -> StoredFile:
        """The file with this id; 404 where there is none."""
        if file_id not in self._files:
            raise ApiError(404, f"No such File object: {file_id}", param="id")
        return self._files[str(file_id)]

    def delete(self, file_id: str) -> dict[str, Any]:
        """Forget a file."""
        self.get(file_id)
        del self._files[file_id]
        return {"id": file_id, "object": "file", "deleted": True}

    def listed(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of the list of files, the newest first."""
        chosen = [f for f in self._files.values() if query.get("purpose") in {None, f.purpose}]
        return page([stored.to_dict() for stored in reversed(chosen)], query)


def page(objects: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """A page of a list: ``limit`` objects behind the one with the id ``after``."""
    ids = [one["id"] for one in objects]
    after = query.get("after")
    if after is not None and after not in ids:
        raise ApiError(400, f"Invalid 'after': {after}", param="after")
    start = ids.index(after) + 1 if after is not None else 0
    try:
        limit = int(query.get("limit", "20"))
    except ValueError as error:
        raise ApiError(400, "Invalid 'limit': expected an integer.", param="limit") from error
    shown = objects[start : start + limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + limit < len(objects),
    }


@dataclass
class _Batch:
    """One batch: what the client sees in ``shown``, and where it stands."""

    shown: dict[str, Any]
    outcome: str
    polls: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.shown["status"])

    def move_to(self, status: str, now: int) -> None:
        self.shown["status"] = status
        self.shown[f"{status}_at"] = now


class Batches:
    """The batches of a server. Each poll moves one on; its lines are answered when it ends."""

    def __init__(self, files: Files, answer: Answer, now: Callable[[], int]) -> None:
        self._files = files
        self._answer = answer
        self._now = now
        self._batches: dict[str, _Batch] = {}

    def create(self, plan: Plan, body: Mapping[str, Any]) -> dict[str, Any]:
        """Start a batch; the object ``batch``, validating."""
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(body.get(name), str):
                raise ApiError(400, f"Missing required parameter: '{name}'.", param=name)
        if body["endpoint"] not in BATCH_ENDPOINTS:
            raise ApiError(400, f"Invalid value: '{body['endpoint']}'.", param="endpoint")
        if body["completion_window"] != "24h":
            raise ApiError(400, "Invalid value: only '24h' is known.", param="completion_window")
        if self._files.get(body["input_file_id"]).purpose != "batch":
            raise ApiError(400, "The input file's purpose is not batch.", param="input_file_id")
        index, now = len(self._batches), self._now()
        batch_id = f"batch_{index + 1:06d}"
        shown: dict[str, Any] = {
            "id": batch_id,
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "created_at": now,
            "expires_at": now + _WINDOW_S,
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "metadata": body.get("metadata"),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self._batches[batch_id] = _Batch(shown, plan.batch_outcome(index))
        return shown

    def poll(self, plan: Plan, batch_id: str) -> dict[str, Any]:
        """The object ``batch``, after one more poll has moved it on."""
        batch = self._get(batch_id)
        batch.polls += 1
        validating, in_progress, finalizing = plan.batch_polls
        if batch.status == "cancelling":
            self._end(plan, batch, "cancelled")
        if batch.status == "validating" and batch.polls > validating:
            self._validate(batch)
        if batch.status == "in_progress":
            done = batch.polls - validating
            if done > in_progress:
                batch.move_to("finalizing", self._now())
            else:
                total = len(batch.lines)
                shown = total * done // (in_progress + 1)
                batch.shown["request_counts"] = {"total": total, "completed": shown, "failed": 0}
        if batch.status == "finalizing" and batch.polls > validating + in_progress + finalizing:
            self._end(plan, batch, batch.outcome)
        return batch.shown

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Ask a batch to stop; it is cancelled at the next poll."""
        batch = self._get(batch_id)
        if batch.status not in {"validating", "in_progress", "finalizing"}:
            raise ApiError(409, f"Cannot cancel a batch with status '{batch.status}'.")
        batch.move_to("cancelling", self._now())
        return batch.shown

    def listed(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of the list of batches, the newest first; a look at it is no poll."""
        return page([batch.shown for batch in reversed(list(self._batches.values()))], query)

    def _get(self, batch_id: str) -> _Batch:
        if batch_id not in self._batches:
            raise ApiError(404, f"No batch found with id '{batch_id}'.")
        return self._batches[batch_id]

    def _validate(self, batch: _Batch) -> None:
        content = self._files.get(batch.shown["input_file_id"]).content
        batch.lines, wrong = _read_lines(content, batch.shown["endpoint"])
        if batch.outcome == "failed":
            wrong = [_line_error("invalid_request", None, "The batch failed as planned.")]
        batch.move_to("failed" if wrong else "in_progress", self._now())
        if wrong:
            batch.shown["errors"] = {"object": "list", "data": wrong}
        else:
            batch.shown["request_counts"]["total"] = len(batch.lines)

    def _end(self, plan: Plan, batch: _Batch, status: str) -> None:
        """Answer the lines that have had their turn, write the files, and close the batch."""
        batch_id = batch.shown["id"]
        # Answers come in an order that has nothing to do with that of the lines.
        lines = sorted(
            batch.lines, key=lambda line: unit(plan.seed, batch_id, "order", line["custom_id"])
        )
        answered = len(lines)
        if status != "completed":
            answered = round(answered * (1 - plan.expired_share))
        right: list[dict[str, Any]] = []
        wrong: list[dict[str, Any]] = []
        for number, line in enumerate(lines):
            row = {"id": f"{batch_id}_req_{number}", "custom_id": line["custom_id"]}
            if number >= answered:
                wrong.append({**row, "response": None, "error": _not_executed(status)})
                continue
            status_code, body = self._answer(batch.shown["endpoint"], line["body"], batch_id)
            response = {
                "status_code": status_code,
                "request_id": f"{batch_id}_{number}",
                "body": body,
            }
            (right if status_code == 200 else wrong).append(
                {**row, "response": response, "error": None}
            )
        for name, rows in (("output_file_id", right), ("error_file_id", wrong)):
            if rows:
                content = "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
                filename = f"{batch_id}_{name.split('_')[0]}.jsonl"
                stored = self._files.add(filename, "batch_output", content, self._now())
                batch.shown[name] = stored.id
        batch.shown["request_counts"] = {
            "total": len(lines),
            "completed": len(right),
            "failed": len(wrong),
        }
        batch.move_to(status, self._now())


def _not_executed(status: str) -> dict[str, str]:
    if status == "expired":
        return {
            "code": "batch_expired",
            "message": "This request could not be executed before the completion window expired.",
        }
    return {"code": "batch_cancelled", "message": "This request was not executed: cancelled."}


def _line_error(code: str, line: int | None, message: str) -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": None}


def _read_lines(content: bytes, endpoint: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of a batch's file, and what is wrong with them."""
    lines: list[dict[str, Any]] = []
    wrong: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, raw in enumerate(content.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("body"), dict):
            wrong.append(_line_error("invalid_json_line", number, "This line is not valid JSON."))
        elif not isinstance(line.get("custom_id"), str):
            wrong.append(_line_error("missing_required_parameter", number, "No custom_id."))
        elif line["custom_id"] in seen:
            wrong.append(_line_error("duplicate_custom_id", number, "The custom_id came before."))
        elif line.get("url") != endpoint or line.get("method") != "POST":
            wrong.append(_line_error("invalid_url", number, "Not the batch's method and url."))
        else:
            seen.add(line["custom_id"])
            lines.append(line)
    if not lines and not wrong:
        wrong.append(_line_error("empty_file", None, "The file has no requests."))
    return lines, wrong

"""Errors as OpenAI's servers answer them."""

from __future__ import annotations

import time
from typing import Any

from .plan import Plan
from .wire import Reply, http_date, json_reply

__all__ = ["ApiError", "planned_error"]


class ApiError(Exception):
    """An answer with an error status and OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": type, "param": param, "code": code}
        }

    def reply(self, form: str = "openai") -> Reply:
        """The HTTP answer, in one of :data:`.plan.ERROR_FORMS`."""
        told = self.body["error"]
        if form == "plain":
            return Reply(self.status, told["message"].encode(), "text/plain", self.headers)
        bodies: dict[str, Any] = {
            "openai": self.body,
            "detail": {
                "detail": [
                    {
                        "type": told["type"],
                        "loc": ["body", *filter(None, [told["param"]])],
                        "msg": told["message"],
                        "input": {"prompt": "the request again: too long, batch size"},
                    }
                ]
            },
            "text": {"error": told["message"]},
            "nested": {"message": {"detail": told["message"], "code": self.status}},
        }
        return json_reply(self.status, bodies[form], self.headers)


def model_not_found(model: object) -> ApiError:
    """404 for a model that the server has not."""
    return ApiError(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        code="model_not_found",
        param="model",
    )


def wrong_key(plan: Plan, key: str) -> ApiError:
    """401; the key stands in the message, masked or, with ``plan.echo_key``, whole."""
    shown = key if plan.echo_key else f"{key[:3]}***{key[-2:]}" if len(key) > 8 else "***"
    return ApiError(
        401, f"Incorrect API key provided: {shown}. You can find your key …", code="invalid_api_key"
    )


def planned_error(kind: str, plan: Plan, model: object, key: str) -> ApiError:
    """The error of a fault of :data:`.plan.STATUS_KINDS`."""
    if kind == "rate_limit":
        return ApiError(
            429,
            f"Rate limit reached for {model}. Please try again in {plan.retry_after_s:g}s.",
            type="requests",
            code="rate_limit_exceeded",
            headers=_retry_after(plan),
        )
    if kind == "insufficient_quota":
        return ApiError(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            type="insufficient_quota",
            code="insufficient_quota",
        )
    if kind == "server_error":
        return ApiError(
            500, "The server had an error while processing your request.", type="server_error"
        )
    if kind == "unavailable":
        return ApiError(
            503,
            "The engine is currently overloaded, please try again later.",
            type="server_error",
            headers=_retry_after(plan),
        )
    if kind == "model_not_found":
        return model_not_found(model)
    if kind == "wrong_key":
        return wrong_key(plan, key)
    raise ValueError(f"{kind} is no fault with a status")


def _retry_after(plan: Plan) -> tuple[tuple[str, str], ...]:
    seconds, form = plan.retry_after_s, plan.retry_after
    if form == "date":
        return (("Retry-After", http_date(time.time() + seconds)),)
    headers = []
    if form in {"seconds", "both"}:
        headers.append(("Retry-After", f"{seconds:g}"))
    if form in {"ms", "both"}:
        headers.append(("retry-after-ms", f"{seconds * 1000:g}"))
    return tuple(headers)

"""The arguments of every sub-command that asks a server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_darec.llm.client import Server

__all__ = ["add_server_arguments", "server_from"]


def add_server_arguments(group: Any, concurrency: int) -> None:
    """Add where a server is, and how fast and how patiently it is asked.

    Args:
        group: an argument group.
        concurrency: requests at once where the user does not say.
    """
    group.add_argument(
        "--base-url",
        metavar="URL",
        help="any server that speaks the OpenAI protocol (default: OPENAI_BASE_URL, or OpenAI's)",
    )
    group.add_argument(
        "--concurrency",
        type=int,
        default=concurrency,
        metavar="N",
        help=f"requests at once (default: {concurrency})",
    )
    group.add_argument("--requests-per-minute", type=float, metavar="N", help="default: no limit")
    group.add_argument("--tokens-per-minute", type=float, metavar="N", help="default: no limit")
    group.add_argument(
        "--retries",
        type=int,
        default=6,
        metavar="N",
        help="repeats of a request after 429, 5xx or a lost connection (default: 6)",
    )
    group.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="of a request (default: 120)"
    )


def server_from(args: argparse.Namespace) -> Server:
    """Return the server, with its arguments and the rates checked.

    Raises:
        OptionError: one is out of range.
    """
    from recbole_darec.llm.client import Server
    from recbole_darec.llm.limits import check_limits

    check_limits(args.requests_per_minute, args.tokens_per_minute)
    return Server(
        base_url=args.base_url,
        timeout=args.timeout,
        retries=args.retries,
        concurrency=args.concurrency,
    )

"""``python -m openai_server --plan plan.json --port 0``: serve until SIGTERM; prints the port."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from .plan import Plan
from .server import Server


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="openai_server", description=__doc__)
    parser.add_argument("--plan", type=Path, help="a JSON file; without one, no faults")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--log", type=Path, help="append a JSON line for each paid answer")
    args = parser.parse_args()
    try:
        plan = Plan() if args.plan is None else Plan.read(args.plan)
    except (OSError, ValueError, TypeError) as error:
        parser.error(f"--plan: {error}")
    asyncio.run(_serve(Server(plan, args.log), args.port))


async def _serve(server: Server, port: int) -> None:
    def started(stop: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        print(server.port, flush=True)

    await server.run(port, started)


if __name__ == "__main__":
    main()

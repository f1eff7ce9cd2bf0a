"""Prompts a second that the profile generator gets through, of a server that answers at once.

    python benchmarks/profile_throughput.py --prompts 5000 --concurrency 64

The server is the tests' own, a process of its own on loopback.  Printed are prompts a second by the
clock and by the client's own processor time: where other programs share the cores, the second says
what the client allows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from openai_server import Plan as ServerPlan
from openai_server import serve_process

from recbole_darec.llm.client import Server
from recbole_darec.profiles.domains import read_domain
from recbole_darec.profiles.generate import generate_profiles
from recbole_darec.profiles.inputs import Entities, Material
from recbole_darec.profiles.plan import Generation, Plan

DESCRIPTION = "A story of a family that moves to the coast and learns to sail. " * 8


def main() -> None:
    """Generate the profiles of many items, and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    material = _items(args.prompts)
    print("| run | prompts | seconds | prompts/s | client's CPU s | prompts per CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for run in range(1, args.runs + 1):
        with serve_process(ServerPlan()) as server, tempfile.TemporaryDirectory() as folder:
            plan = Plan(
                domain=read_domain("books"),
                generation=Generation(model="gpt-4o-mini"),
                store=Path(folder) / "store.sqlite",
                server=Server(base_url=server.base_url, concurrency=args.concurrency),
            )
            cpu, start = time.process_time(), time.perf_counter()
            report = generate_profiles(material, plan)
            cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
        if not report.complete:
            raise SystemExit("error: not every prompt was answered")
        n = args.prompts + 1
        print(
            f"| {run} | {n:,} | {seconds:.1f} | {n / seconds:.0f} | {cpu:.1f} | {n / cpu:.0f} |",
            flush=True,
        )


def _items(n: int) -> Material:
    """Return n items with descriptions, and one user."""
    ids = tuple(f"i{k}" for k in range(n))
    rows = {i: {"title": f"Book {i}", "description": f"{i}. {DESCRIPTION}"} for i in ids}
    train = pd.DataFrame({"user_id": ["u"], "item_id": [ids[0]]})
    counts = {"train": 1, "valid": 0, "test": 0}
    items = Entities(ids, ("title", "description"), rows)
    return Material("books", Entities(("u",)), items, train, counts, None, "")


if __name__ == "__main__":
    main()

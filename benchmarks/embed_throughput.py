"""Texts a second of ``embed``, beside ``SentenceTransformer.encode`` on the same texts.

    python benchmarks/embed_throughput.py [--model all-MiniLM-L6-v2] [--texts 2000] [--rounds 3]
    python benchmarks/embed_throughput.py --profiles a.jsonl b.jsonl
    python benchmarks/embed_throughput.py --workers 1 2 4

``embed`` is all that the command does but for loading the model: profiles read, batches made, long
texts looked for, rows kept in a new store, files written.  Both sides use one loaded model each, on
the same device, with batches of the same size.  They take turns, and which goes first changes.
Overheads are medians over the rounds of the quotient within a round, by the clock and by the
process's CPU time; where other programs share the cores, the second is the one to look at, on a GPU
the first.

With ``--workers`` several processes are compared instead, by the clock, each loading included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.cli.ending import exit_code
from recbole_darec.data.profile_files import read_profiles
from recbole_darec.encoders import EncoderOptions, parse_encoder
from recbole_darec.encoders.embed import EmbedRequest, embed_profiles
from recbole_darec.encoders.model_folder import find_model

_WORDS = (
    "quiet",
    "bright",
    "long",
    "slow",
    "early",
    "local",
    "classic",
    "strange",
    "warm",
    "rural",
)


def made_texts(n: int) -> list[str]:
    """Return n different texts of 20 to 120 words, the same at every call."""
    rng = np.random.default_rng(0)
    return [
        f"User {k} likes " + " ".join(rng.choice(_WORDS, rng.integers(20, 121))) + " films."
        for k in range(n)
    ]


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Run once; return seconds by the clock and of the process's CPU time."""
    cpu, start = time.process_time(), time.perf_counter()
    action()
    return time.perf_counter() - start, time.process_time() - cpu


def write_dataset(folder: Path, texts: Iterable[str]) -> None:
    """Write texts as the item profiles of the data set ``bench``."""
    (folder / "bench").mkdir()
    with (folder / "bench" / "bench.itemprofile.jsonl").open("w", encoding="utf-8") as file:
        for n, text in enumerate(texts):
            file.write(json.dumps({"id": f"i{n}", "profile": text}) + "\n")


def run_embed(texts: Iterable[str], encoder: Any) -> tuple[float, float]:
    """Time ``embed`` into a new folder with a new store."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), texts)
        request = EmbedRequest("bench", Path(folder), sides=["item"])
        return timed(lambda: embed_profiles(request, encoder, show_progress=False))


def compare(args: argparse.Namespace, texts: list[str]) -> None:
    """Print the overhead of ``embed`` over the library's own call."""
    from sentence_transformers import SentenceTransformer

    devices = (args.device,) if args.device else ()
    encoder = parse_encoder(
        f"st:{args.model}", EncoderOptions(batch_size=args.batch_size, devices=devices)
    )
    plain = SentenceTransformer(find_model(args.model).folder, device=args.device)

    def direct() -> tuple[float, float]:
        return timed(lambda: plain.encode(texts, batch_size=args.batch_size))

    run_embed(texts[: args.batch_size], encoder)  # loads the model
    plain.encode(texts[: args.batch_size])
    wall, cpu = [], []
    print("| round | direct, texts/s | embed, texts/s | clock | CPU time |")
    print("| --- | --- | --- | --- | --- |")
    for n in range(args.rounds):
        if n % 2:
            ours, theirs = run_embed(texts, encoder), direct()
        else:
            theirs, ours = direct(), run_embed(texts, encoder)
        wall.append(ours[0] / theirs[0])
        cpu.append(ours[1] / theirs[1])
        rates = f"{len(texts) / theirs[0]:,.0f} | {len(texts) / ours[0]:,.0f}"
        print(f"| {n + 1} | {rates} | {wall[-1]:.3f} | {cpu[-1]:.3f} |", flush=True)
    print(
        f"overhead, median of {args.rounds} rounds: {statistics.median(wall) - 1:+.1%} by the "
        f"clock, {statistics.median(cpu) - 1:+.1%} of CPU time"
    )


def compare_workers(args: argparse.Namespace, texts: list[str]) -> None:
    """Print texts a second for each number of processes."""
    print("| processes | seconds | texts/s |")
    print("| --- | --- | --- |")
    for _ in range(args.rounds):
        for workers in args.workers:
            encoder = parse_encoder(
                f"st:{args.model}",
                EncoderOptions(
                    batch_size=args.batch_size,
                    devices=(args.device,) if args.device else (),
                    workers=workers,
                ),
            )
            seconds, _ = run_embed(texts, encoder)
            print(f"| {workers} | {seconds:.1f} | {len(texts) / seconds:,.0f} |", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="name or folder")
    parser.add_argument("--device", help="cpu, cuda, … (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--texts", type=int, default=2000, help="made texts (default: 2000)")
    parser.add_argument("--profiles", nargs="+", type=Path, help="profile files instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", nargs="+", type=int, help="numbers of processes to compare")
    args = parser.parse_args()
    texts = made_texts(args.texts)
    if args.profiles:
        texts = [text for path in args.profiles for text in read_profiles(path)[1]]
    (compare_workers if args.workers else compare)(args, texts)


if __name__ == "__main__":
    sys.exit(exit_code(main))

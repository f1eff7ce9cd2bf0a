"""What a study costs beside the same runs called one by one, and what two jobs bring.

    python benchmarks/study_overhead.py --epochs 20 --runs 4 --jobs 1 2

The loop calls ``recbole-darec train`` once for each seed, as a shell script would.  Each way is
timed ``--repeats`` times in turns with the others, and the shortest time counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from recbole_darec.cli.ending import exit_code


def main() -> None:
    """Time the loop and the study, and print one row each."""
    args = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="study_overhead_"))
    ways = {"loop": 0, **{f"compare --jobs {jobs}": jobs for jobs in args.jobs}}
    found: dict[str, list[float]] = {way: [] for way in ways}
    try:
        for _ in range(args.repeats):
            for way, jobs in ways.items():
                start = time.perf_counter()
                _loop(args, folder) if not jobs else _study(args, folder, jobs)
                found[way].append(time.perf_counter() - start)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    loop = min(found["loop"])
    print(f"{args.runs} runs of {args.epochs} epochs of {args.model} on {args.dataset}\n")
    print("| way | seconds | beside the loop |")
    print("| --- | --- | --- |")
    for way, seconds in found.items():
        print(f"| {way} | {min(seconds):.1f} | {100 * (min(seconds) / loop - 1):+.1f} % |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--model", default="LightGCN")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--data-path", type=Path, default=Path("dataset"))
    return parser.parse_args()


def _options(args: argparse.Namespace) -> dict[str, object]:
    return {
        "epochs": args.epochs,
        "stopping_step": args.epochs,
        "data_path": str(args.data_path.absolute()),
        "num_threads": 1,
        "show_progress": False,
    }


def _loop(args: argparse.Namespace, folder: Path) -> None:
    options = [f"--{name}={value}" for name, value in _options(args).items()]
    for seed in range(args.runs):
        _called(
            ["train", f"--model={args.model}", f"--dataset={args.dataset}", "--align=none",
             f"--seed={seed}", *options],
            folder,
        )  # fmt: skip


def _study(args: argparse.Namespace, folder: Path, jobs: int) -> None:
    study = {
        "name": "overhead",
        "datasets": [args.dataset],
        "backbones": [args.model],
        "aligners": ["none"],
        "seeds": list(range(args.runs)),
        "common": _options(args),
    }
    (folder / "overhead.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    shutil.rmtree(folder / "studies", ignore_errors=True)
    _called(["compare", "overhead.yaml", f"--jobs={jobs}"], folder)


def _called(arguments: list[str], folder: Path) -> None:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "recbole_darec", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    sys.exit(exit_code(main))

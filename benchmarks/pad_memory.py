"""PAD over very many items: the peak memory of three phases and an evaluation.

    python benchmarks/pad_memory.py --items 500000 --text 1024 --folder /tmp/pad_memory

A data set of sequences drawn at random with float16 texts is written into ``--folder`` and trained
on in a process of its own, one epoch a phase.  The peak is what the system says that the process
has held (``ru_maxrss``), which counts mapped pages, too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from recbole_darec.cli.ending import exit_code

BLOCK, LENGTH = 20_000, 23
NAME = "many"
PROPERTIES = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp
load_col:
  inter: [user_id, item_id, timestamp]
  item: [item_id]
eval_args: {split: {LS: valid_and_test}, group_by: user, order: TO, mode: full}
"""


def main() -> None:
    """Write the data, train, and print peak and bound."""
    args = _arguments()
    if args.child:
        _train(args)
        return
    if not (args.folder / NAME / f"{NAME}.itememb.tokens").is_file():
        _write(args)
    command = [sys.executable, __file__, "--child", *sys.argv[1:]]
    started = time.perf_counter()
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(answer.splitlines()[-1])
    tables = args.tables * (args.items + 1) * args.width * 4
    bound = 4 * tables + 1e9
    print(
        f"{args.items:,} items, {args.text} wide, {args.align}, d = {args.width}: peak "
        f"{found['peak'] / 1e9:.2f} GB, {args.tables} id tables {tables / 1e9:.2f} GB, 4 times "
        f"these and 1 GB {bound / 1e9:.2f} GB; "
        f"{time.perf_counter() - started:.0f} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--users", type=int, default=320)
    parser.add_argument("--text", type=int, default=1024)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--align", default="pad")
    parser.add_argument("--tables", type=int, default=2, help="id tables that the method has")
    parser.add_argument("--batch", type=int, default=32, help="users a step")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _write(args: argparse.Namespace) -> None:
    """Write sequences of items at random, all items, and texts as noise."""
    folder = args.folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    (folder / f"{NAME}.yaml").write_text(PROPERTIES, encoding="utf-8")
    lists = rng.integers(0, args.items, (args.users, LENGTH)).tolist()
    with (folder / f"{NAME}.inter").open("w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, items in enumerate(lists):
            file.writelines(f"u{user}\ti{item}\t{n}\n" for n, item in enumerate(items))
    every = "".join(f"i{n}\n" for n in range(args.items))
    (folder / f"{NAME}.item").write_text(f"item_id:token\n{every}", encoding="utf-8")
    mapped: Any = np.lib.format.open_memmap  # which older versions of NumPy have no types of
    matrix = mapped(folder / f"{NAME}.itememb.npy", "w+", np.float16, (args.items, args.text))
    for start in range(0, args.items, BLOCK):
        part = matrix[start : start + BLOCK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    matrix.flush()
    (folder / f"{NAME}.itememb.tokens").write_text(every, encoding="utf-8")


def _train(args: argparse.Namespace) -> None:
    from recbole_darec import run_recbole_darec

    options = {
        "align": args.align,
        "data_path": str(args.folder),
        "checkpoint_dir": str(args.folder / "saved"),
        "hidden_size": args.width,
        "inner_size": 4 * args.width,
        "n_layers": 1,
        "MAX_ITEM_LIST_LENGTH": LENGTH - 3,
        "train_batch_size": args.batch,
        "epochs": 1,
        "eval_block_mb": 64,
        "snapshot_every": 0,
        "num_threads": 1,
        "show_progress": False,
        "state": "WARNING",
    }
    run_recbole_darec("SASRec", NAME, config_dict=options)
    print(json.dumps({"peak": _peak()}))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(exit_code(main))

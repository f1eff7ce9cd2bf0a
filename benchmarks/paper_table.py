"""Print how far the backbones alone are from the papers' table, from rows of ``compare.py``.

python benchmarks/paper_table.py docs/results/paper_base.csv
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from pathlib import Path

from recbole_darec.cli.ending import exit_code

# Recall@20 and NDCG@20 of the base models (DaRec, table III; RLMRec has the same).
TABLE = {
    "amazon": {
        "GCCF": (0.1343, 0.0807),
        "LightGCN": (0.1411, 0.0856),
        "SGL": (0.1473, 0.0913),
        "SimGCL": (0.1512, 0.0919),
        "DCCF": (0.1517, 0.0943),
        "AutoCF": (0.1536, 0.0984),
    },
    "yelp": {
        "GCCF": (0.1084, 0.0680),
        "LightGCN": (0.1157, 0.0733),
        "SGL": (0.1197, 0.0753),
        "SimGCL": (0.1254, 0.0801),
        "DCCF": (0.1249, 0.0800),
        "AutoCF": (0.1280, 0.0813),
    },
}


def main() -> None:
    """Print one row for each backbone and data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path, metavar="FILE.csv")
    with parser.parse_args().rows.open(newline="") as file:
        rows = list(csv.DictReader(file))
    print("| data set | backbone | seeds | Recall@20 | table | difference | NDCG@20 | table "
          "| difference |")  # fmt: skip
    print("| --- " * 9 + "|")
    for dataset, backbones in TABLE.items():
        for model, papers in backbones.items():
            found = [r for r in rows if (r["dataset"], r["model"]) == (dataset, model)]
            cells = []
            for metric, paper in zip(("recall@20", "ndcg@20"), papers):
                if found:
                    ours = statistics.mean(float(row[metric]) for row in found)
                    cells.append(f"{ours:.4f} | {paper:.4f} | {100 * (ours / paper - 1):+.1f} %")
                else:
                    cells.append(f"not run yet | {paper:.4f} | ")
            print(f"| {dataset} | {model} | {len(found)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Tune: ``python run_hyper_darec.py --model=LightGCN --dataset=ml-100k --params_file=darec``."""

import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "error: this is Python %d.%d, and recbole_darec needs 3.10 or newer: make run "
        "PYTHON=python3.12\n" % sys.version_info[:2]
    )
    sys.exit(2)

from recbole_darec.cli import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))

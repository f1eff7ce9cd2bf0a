"""How a command ends: its exit code, and one line on stderr where the input is bad."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable

from recbole_darec.environment import fault_of
from recbole_darec.errors import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    UserError,
    first_line,
    is_out_of_memory,
)

__all__ = ["exit_code"]


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code.

    A user's error, a full disk, missing memory and Ctrl-C end in one line; anything else is a
    fault of the program and raised.

    Args:
        command: does the work; None stands for 0.

    Returns:
        The command's own code, 2 for bad input, 130 after Ctrl-C, 1 if nobody reads the output.
    """
    # A full disk must not turn every log line into a traceback.
    logging.raiseExceptions = False
    # Ray 2.6 and hyperopt import pkg_resources, of which setuptools warns whoever runs them.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated as an API")
    try:
        try:
            return int(command() or 0)
        finally:
            sys.stdout.flush()  # here, so that a reader who has gone is noticed below
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, OSError) as error:
        fault = fault_of(error)
        if fault is not None:
            return _complain(str(fault))
        if isinstance(error, ImportError):
            raise
        # Permission, disk full, too many files: the file's name is in the message.
        where = f" '{error.filename}'" if error.filename else ""
        missing = isinstance(error, FileNotFoundError)
        way_out = "check the name" if missing else "free room or choose another folder"
        return _complain(f"{error.strerror or error}{where}; {way_out}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _complain(
            "out of memory; lower align_sample, train_batch_size, eval_block_mb or the widths "
            f"({first_line(error)[:120]})"
        )


def _complain(message: str) -> int:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT

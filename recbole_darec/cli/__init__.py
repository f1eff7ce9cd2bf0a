"""The command line: one file a sub-command, nothing heavy imported before the work begins."""

from __future__ import annotations

from recbole_darec.cli.main import main

__all__ = ["main"]

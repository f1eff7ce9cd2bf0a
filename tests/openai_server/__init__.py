"""An OpenAI server on loopback that makes faults by plan, for tests and benchmarks.

``with serve(Plan(faults=(Fault("rate_limit", 0.1),))) as server:`` runs it in a thread;
:func:`serve_process` and ``python -m openai_server --plan plan.json --port 0`` as a process.
"""

from __future__ import annotations

from .chat import answer_for, prompt_hash
from .embeddings import vector_for
from .plan import KINDS, Fault, Plan
from .process import ServerProcess, serve_process
from .record import Log
from .server import Server, serve

__all__ = [
    "KINDS",
    "Fault",
    "Log",
    "Plan",
    "Server",
    "ServerProcess",
    "answer_for",
    "prompt_hash",
    "serve",
    "serve_process",
    "vector_for",
]

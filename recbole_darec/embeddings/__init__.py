"""Profile embeddings E^L: file formats, lookup by token, coverage, controls.

This package knows files and ids; it knows no model and no configuration.
"""

from __future__ import annotations

from recbole_darec.embeddings.controls import apply_control
from recbole_darec.embeddings.formats import read_table, write_binary, write_text
from recbole_darec.embeddings.load import ProfileEmbeddings, load_embeddings
from recbole_darec.embeddings.lookup import Coverage, lookup
from recbole_darec.embeddings.mapped import MappedRows
from recbole_darec.embeddings.options import EmbeddingOptions
from recbole_darec.embeddings.places import profile_files
from recbole_darec.embeddings.table import EmbeddingTable

__all__ = [
    "Coverage",
    "EmbeddingOptions",
    "EmbeddingTable",
    "MappedRows",
    "ProfileEmbeddings",
    "apply_control",
    "load_embeddings",
    "lookup",
    "profile_files",
    "read_table",
    "write_binary",
    "write_text",
]

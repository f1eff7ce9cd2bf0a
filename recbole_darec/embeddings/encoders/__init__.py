"""Text encoders: profiles in, rows of the matrix E^L out."""

from recbole_darec.embeddings.encoders.sentence_transformers_encoder import encode_texts

__all__ = ["encode_texts"]

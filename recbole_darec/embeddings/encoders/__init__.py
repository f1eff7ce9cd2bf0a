"""Text encoders: profiles in, rows of the matrix E^L out."""

from recbole_darec.embeddings.encoders.base import Encoded, Encoder
from recbole_darec.embeddings.encoders.parse import EncoderOptions, parse_encoder
from recbole_darec.embeddings.encoders.sentence_transformers_encoder import encode_texts

__all__ = ["Encoded", "Encoder", "EncoderOptions", "encode_texts", "parse_encoder"]

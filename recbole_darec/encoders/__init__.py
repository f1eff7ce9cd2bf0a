"""Text encoders: profiles in, rows of the matrix E^L out."""

from recbole_darec.encoders.base import Encoded, Encoder
from recbole_darec.encoders.parse import EncoderOptions, parse_encoder
from recbole_darec.encoders.texts import encode_texts

__all__ = ["Encoded", "Encoder", "EncoderOptions", "encode_texts", "parse_encoder"]

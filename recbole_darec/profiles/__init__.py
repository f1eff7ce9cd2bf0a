"""Profiles: short texts about users and items, from which the embeddings E^L are made."""

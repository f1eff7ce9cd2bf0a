"""Ordered lists of items a user, for sequential models, into atomic files."""

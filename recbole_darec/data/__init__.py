"""Interactions: RecBole's atomic files, fixed splits, importers, a pickle reader that runs nothing.

This package knows files and ids.  It knows no model, no aligner and no RecBole class, so that what
it writes serves graph and sequence recommenders alike.
"""

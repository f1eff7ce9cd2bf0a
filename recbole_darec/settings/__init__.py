"""Typed options, the layers that they come from, and their checks; no torch, no RecBole."""

"""General models that are computed from interactions and profiles, without epochs."""

"""Where a backbone and an aligner meet."""

"""Sequential models of this package: counts, beside which a trained one has to stand."""

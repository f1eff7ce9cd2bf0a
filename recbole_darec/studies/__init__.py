"""Studies: from a question in a yaml to trained runs, a store of results, and a table."""

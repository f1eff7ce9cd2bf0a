"""Outside data into a data set's folder: importers, and the public raw data sets."""

"""Public raw data sets (Amazon, Yelp, Steam, MovieLens) into RecBole's atomic files."""

from recbole_darec.sources.raw.prepare import SOURCES, PrepareReport, prepare

__all__ = ["SOURCES", "PrepareReport", "prepare"]

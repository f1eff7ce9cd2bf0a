"""Public raw data sets into RecBole's atomic files; one reader a source."""

from recbole_darec.sources.raw.prepare import SOURCES, PrepareReport, prepare

__all__ = ["SOURCES", "PrepareReport", "prepare"]

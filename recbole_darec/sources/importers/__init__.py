"""Importers: one file per source, each ending in :func:`.base.write_import`.

A new source is one new file that turns what it reads into interactions and two
:class:`~.base.KindData` values, and one sub-command in ``recbole_darec/cli/import_.py``.
"""

"""Rows in and out of files: Parquet, CSV and Arrow files and frames, read in pieces and written whole.

In: a path or a table. Out: Arrow batches, and for codes their distinct values; on the way out, files.
Imports `kernels`, `tables` (names of member columns) and `base`.
"""

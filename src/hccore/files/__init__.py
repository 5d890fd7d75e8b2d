"""Reads Parquet, CSV and Arrow files and in-memory tables (pandas, polars, pyarrow, DuckDB), and writes files.

Input: a path or a table. The readers return Arrow batches; columns of codes come as their distinct values plus one
index per row. Output: the writers take Arrow batches and create a Parquet, CSV or Arrow file, complete or not at
all.
May import `kernels`, `tables` and `base`.
"""

"""Stored objects to recordings: files, members of tars, rows of Parquet files."""

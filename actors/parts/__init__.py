"""Rows to committed Parquet files."""

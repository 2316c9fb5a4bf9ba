"""Writes rows to committed Parquet files, and reads those back."""

"""Safe reading and display of untrusted data: Arrow, Parquet, JSON, YAML, text."""

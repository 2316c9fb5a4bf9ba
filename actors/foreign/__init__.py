"""What others wrote, read as plain data and shown without harm: Arrow, Parquet, JSON, YAML, text."""

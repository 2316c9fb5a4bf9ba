"""Reading of recordings from stored objects: audio files, tar shards, Parquet files."""

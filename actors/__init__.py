"""Worker side of citrascribe: what runs beside the data. Nothing here imports `jobs` or `ray`."""

VERSION = "0.2.0"  # of citrascribe; pyproject.toml takes it from here

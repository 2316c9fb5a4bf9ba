"""Worker side of citrascribe: what runs beside the data. Nothing here imports `jobs` or `ray`."""

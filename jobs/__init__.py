"""Driver side of citrascribe: the jobs that a person or a scheduler starts, `python -m jobs.NAME`."""

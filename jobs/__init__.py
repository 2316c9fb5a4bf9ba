"""The driver side of citrascribe: jobs started by a person or scheduler with `python -m jobs.NAME`."""

"""Files in storage: read, written in one atomic step, and listed."""

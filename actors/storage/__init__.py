"""Files in storage: reading, atomic writes, and listings."""

"""A run at work: its cluster, its lease, what became of its units."""

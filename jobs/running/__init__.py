"""Execution of a run: cluster, lease, outcomes of units, metrics and summary."""

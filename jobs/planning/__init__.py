"""What the input holds, less what is done: the plan of a run."""

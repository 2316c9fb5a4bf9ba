"""What jobs.benchmark measures: ways to transcribe, and models of random weights to do it with."""

"""Planning of a run: lists the input, reads the state of the output, and derives the units to process."""

"""CTC output to tokens."""

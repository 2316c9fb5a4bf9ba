"""CTC output to text, and texts compared."""

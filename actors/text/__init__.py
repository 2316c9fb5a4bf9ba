"""Decodes CTC output to text, and compares texts."""

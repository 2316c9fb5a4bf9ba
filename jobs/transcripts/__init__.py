"""Committed transcripts, read for people and other programs."""

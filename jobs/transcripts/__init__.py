"""Reads committed transcripts, and writes them in formats for people and other programs."""

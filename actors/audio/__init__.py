"""Stored audio to segments of 16 kHz mono PCM."""

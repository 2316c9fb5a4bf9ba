"""Decodes stored audio and cuts it into segments of 16 kHz mono PCM."""

"""Decodes stored audio and cuts it into segments of mono sound at 16 kHz."""

"""The duration of a recording by its file's header, read from a few ranges and without a decoder."""

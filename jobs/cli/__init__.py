"""Command line, configuration and terminal of every job."""

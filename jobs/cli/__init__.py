"""Command line, configuration and terminal output, shared by all jobs."""

"""Finds models, and runs them: the engines and what they need."""

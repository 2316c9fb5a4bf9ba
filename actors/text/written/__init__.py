"""The written form of what was said: numbers as digits, and back."""

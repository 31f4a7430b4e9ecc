"""Fuzzing, by hand, and what it found."""

"""Measures the action against what a user would do instead. `make bench`; docs/performance.md says what came out."""

"""Measures the action against what a user would do instead. `make bench`; results: docs/development/performance.md."""

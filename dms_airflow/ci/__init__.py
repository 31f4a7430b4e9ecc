"""The CI system around the step: what it gives us, and how results are reported to it."""

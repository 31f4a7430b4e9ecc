"""The CI system: what it gives a step, and what it gets: summary with all tables, annotations, files, comment."""

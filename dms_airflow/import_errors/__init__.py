"""DAG files that do not import: listed, grouped by cause, compared with a baseline, made into findings."""

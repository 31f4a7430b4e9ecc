"""DAG runs: triggered once, waited for, explained, made into findings."""

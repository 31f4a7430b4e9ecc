"""DAG runs: triggered once, waited for, explained, reported."""

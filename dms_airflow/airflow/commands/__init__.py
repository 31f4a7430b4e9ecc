"""The Airflow command line over HTTP: which commands, their arguments, and whether one worked."""

"""The checkout's files in the instance's DAG folder: planned, written, published, verified, rolled back."""

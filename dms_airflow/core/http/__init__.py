"""HTTP: one exchange, its errors, its retries, and which hosts may be asked."""

"""HTTP: one exchange, its errors, its retries, and which hosts are allowed."""

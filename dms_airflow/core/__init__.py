"""For every package: errors, results, findings, inputs, secrets, time, polling, HTTP and retries. Knows no remote."""

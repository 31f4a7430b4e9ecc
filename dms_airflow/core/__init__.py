"""What every package builds on: errors, results, findings, time, inputs, secrets, retry, one HTTP exchange. Knows no remote."""

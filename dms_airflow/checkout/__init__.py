"""The author's repository: maps paths and tracebacks of the instance to its files and lines."""

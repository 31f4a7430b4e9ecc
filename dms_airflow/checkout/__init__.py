"""The author's repository: which of its files and lines an instance path or a traceback means."""

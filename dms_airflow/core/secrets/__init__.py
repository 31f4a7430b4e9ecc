"""Secrets: found in texts, and masked in everything that is shown."""

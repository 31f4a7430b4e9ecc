"""Secrets: found in texts, masked in everything that is shown, and tokens that pass from one remote to another."""

"""Findings in the formats that other tools read, and the files that hold them."""

"""From the author's credentials to signed calls of DMS's OpenAPI."""

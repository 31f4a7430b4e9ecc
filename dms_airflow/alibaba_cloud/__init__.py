"""The author's credentials, signed calls of STS and DMS's OpenAPI, and their error codes."""

"""The author's credentials, Alibaba Cloud's hosts, signed calls of STS and DMS's OpenAPI, and their error codes."""

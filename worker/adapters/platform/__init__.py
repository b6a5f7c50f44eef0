"""The platform's client, based on urllib3: each query has its own connection, request and deadline."""

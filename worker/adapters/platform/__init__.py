"""The platform's client, on requests: one query is one connection, one request, one deadline."""

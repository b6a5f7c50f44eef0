"""The platform's client, on urllib3: one query is one connection, one request, one deadline."""

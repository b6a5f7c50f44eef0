"""The decisions, on the standard library alone: when to query, which orders to poll, and what to believe."""

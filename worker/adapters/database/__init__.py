"""The database, the only truth: orders, budget and query log commit together."""

"""The tables, a file for each group: SQL and the mapping between rows and values. Nothing is decided here."""

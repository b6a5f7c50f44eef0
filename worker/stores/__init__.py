"""SQL on the tables, and the mapping between rows and values. Nothing is decided here."""

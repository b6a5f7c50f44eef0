"""Access to the database: connections, transactions, retries, the tables' definitions and their migrations."""

"""SQL on the tables, and the mapping between rows and values. These modules decide nothing."""

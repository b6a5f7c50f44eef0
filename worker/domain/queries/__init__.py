"""The next query: when it may be sent, which orders it includes, and what its answer or its failure changes."""

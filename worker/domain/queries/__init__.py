"""The next query: when it may be sent, which orders it includes, what its answer or its failure changes."""

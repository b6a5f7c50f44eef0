"""What finance reads: the report of a period, and the comparison with a statement."""

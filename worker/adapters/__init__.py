"""Thin layers over outside libraries. They make no decisions."""

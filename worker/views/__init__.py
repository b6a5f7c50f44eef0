"""Reads for people and monitors: one function for each question. Nothing here writes or locks."""

"""Decisions about an account: its pauses and back-off, and what answers teach about its platform."""

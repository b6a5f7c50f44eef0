"""Notifications: what they cost the worker's own transactions, and how fast they are delivered."""

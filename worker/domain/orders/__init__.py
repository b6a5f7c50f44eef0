"""The decisions about an order: to take it in, judge what is said about it, settle it, give it up, act on it."""

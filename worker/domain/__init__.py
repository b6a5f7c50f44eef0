"""The decisions, without any outside library: what an order is, when to query, what to poll, what to believe."""

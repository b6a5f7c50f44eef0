"""The decisions, free of any outside library: what an order is, when to ask, whom to poll, what to believe."""

"""How fast orders and callbacks are taken in, and whether a flood of them delays queries."""

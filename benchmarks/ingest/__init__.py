"""What comes in: how fast it is taken, and that a flood of it delays no query."""

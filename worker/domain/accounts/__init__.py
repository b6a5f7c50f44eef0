"""What is decided of an account: its back-off, and how its platform answers."""

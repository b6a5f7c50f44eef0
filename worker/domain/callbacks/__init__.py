"""The platform's callbacks: their body, the orders they name, and when one is refused at once."""

"""The platform's callbacks: their bodies, the orders that they name, and their refusal under overload."""

"""The platform's callbacks: reading their bodies, matching them to orders, and refusing them under overload."""

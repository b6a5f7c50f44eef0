"""What a billing system is told, and how an endpoint that fails is treated."""

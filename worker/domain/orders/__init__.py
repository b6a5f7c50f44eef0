"""What an order may become: taken in, believed, settled, given up, acted on."""

"""Learns the final state of recharge orders whose callback never came."""

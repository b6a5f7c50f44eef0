"""What people and monitoring programs are shown: findings, what needs a person, what an order waits for, and totals."""

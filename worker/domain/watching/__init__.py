"""What people and programs that watch are shown: findings, what needs a person, what an order waits for, totals."""

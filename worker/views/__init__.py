"""What people and monitors read: each question has one function here. Nothing here writes or locks."""

"""What the tests share: servers of their own, databases, brokers, and the services that the environment names."""

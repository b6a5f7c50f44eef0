"""The frozen values that the stores read and write, and that decisions use. They decide nothing themselves."""

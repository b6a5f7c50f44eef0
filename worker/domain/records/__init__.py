"""The frozen values that the stores write and read, and that the decisions are made of. They decide nothing."""

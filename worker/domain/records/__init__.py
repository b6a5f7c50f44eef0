"""The frozen values that the stores read and write and that decisions work on. They decide nothing."""

"""The choice of the batch, in virtual time: policies side by side on made workloads."""

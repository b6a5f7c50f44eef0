"""The platform's wire format: requests to bytes, and answers from bytes. Pure functions on the standard library."""

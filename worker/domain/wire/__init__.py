"""The platform's wire format: the request as bytes, the answer from bytes. Pure; the standard library only."""

"""The public import of the client library."""

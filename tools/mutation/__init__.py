"""Mutation testing of checks and decoders: what a test suite lets through, docs/testing.md."""

"""The zero-knowledge proofs of protocol.md 5, one file a proof, all of one shape."""

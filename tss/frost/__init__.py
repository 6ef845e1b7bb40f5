"""FROST(Ed25519, SHA-512): RFC 9591's threshold signatures, with a distributed key generation (protocol.md 6.2)."""

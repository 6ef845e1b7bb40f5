"""FROST, RFC 9591's threshold signatures (protocol.md 6.2): Ed25519 with a distributed key generation, BIP-340 by CGGMP24's keys."""

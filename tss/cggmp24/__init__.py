"""CGGMP24 threshold ECDSA (eprint 2021/060, revision of 2024-10-21), one file a protocol."""

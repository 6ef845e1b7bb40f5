"""Keys, key sets and room tokens as somebody else's code makes them: PyJWT and cryptography."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LIFE = 200


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Minter:
    """A key pair that mints tokens. The same `seed` is the same key."""

    def __init__(self, seed: str, algorithm: str = "EdDSA", kid: str | None = None) -> None:
        self.algorithm = algorithm
        self.kid = seed if kid is None else kid
        digest = hashlib.sha256(seed.encode()).digest()
        if algorithm == "EdDSA":
            self.private: Any = ed25519.Ed25519PrivateKey.from_private_bytes(digest)
            self.raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            self.private = ec.derive_private_key(int.from_bytes(digest) >> 8, ec.SECP256R1())
            point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            self.raw = point[1:]

    def jwk(self, **over: Any) -> dict[str, Any]:
        if self.algorithm == "EdDSA":
            entry = {"kty": "OKP", "crv": "Ed25519", "x": base64url(self.raw)}
        else:
            entry = {
                "kty": "EC", "crv": "P-256", "x": base64url(self.raw[:32]), "y": base64url(self.raw[32:]),
            }  # fmt: skip
        entry |= {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        return {name: value for name, value in (entry | over).items() if value is not None}

    def token(
        self,
        room: Any = "room",
        scope: Any = "subscribe post issue_unique_idx",
        *,
        start: float = 0,
        life: float = LIFE,
        header: dict[str, Any] | None = None,
        now: float | None = None,
        **claims: Any,
    ) -> str:
        """A token from `start` seconds after `now` (the wall clock) on; claims of None are left out."""
        begin = int(time.time() if now is None else now) + start
        body = {"aud": room, "scope": scope, "nbf": begin, "exp": begin + life} | claims
        return jwt.encode(
            {name: value for name, value in body.items() if value is not None},
            self.private,
            algorithm=self.algorithm,
            headers={"kid": self.kid} | (header or {}),
        )


def forged(header: dict[str, Any], claims: Any, signature: bytes = b"") -> str:
    """A token whose signature is whatever it is."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(map(base64url, parts))


def key_set(minters: Iterable[Minter]) -> dict[str, Any]:
    return {"keys": [minter.jwk() for minter in minters]}


def write_key_set(path: Path, *minters: Minter) -> Path:
    """Replaces the file as a whole, as an operator does."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(key_set(minters)))
    partial.replace(path)
    return path


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}

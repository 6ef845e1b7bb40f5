"""SSHSIG: signatures of files, commits and the like by an SSH key (OpenSSH's PROTOCOL.sshsig)."""

from __future__ import annotations

import base64
import hashlib
import textwrap
from dataclasses import dataclass
from typing import Final

from participant.payloads.errors import PayloadError

MAGIC: Final = b"SSHSIG"
HASH: Final = b"sha512"
KEY_TYPE: Final = b"ssh-ed25519"
MAX_NAMESPACE: Final = 20
MAX_MESSAGE: Final = 256 * 1024
_VERSION: Final = 1
_COLUMNS: Final = 70


@dataclass(frozen=True)
class SshSummary:
    """A message and the namespace that it is signed in."""

    namespace: str
    message: bytes


def check(namespace: str, message: bytes) -> None:
    """Raise PayloadError for a namespace that is not 1 to 20 printable ASCII characters, or a message that is too long."""
    if not 1 <= len(namespace) <= MAX_NAMESPACE or not (namespace.isascii() and namespace.isprintable()):
        raise PayloadError(
            f"the SSH namespace {namespace[:40]!r} is not 1 to {MAX_NAMESPACE} printable ASCII characters",
            'use "file" for files and "git" for commits',
        )
    if len(message) > MAX_MESSAGE:
        raise PayloadError(f"the message has {len(message)} bytes, at most {MAX_MESSAGE} are taken")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def signed_data(namespace: str, message: bytes) -> bytes:
    """What the key signs: magic, namespace, reserved, hash name, SHA-512 of the message."""
    fields = (namespace.encode(), b"", HASH, hashlib.sha512(message).digest())
    return MAGIC + b"".join(map(_string, fields))


def public_key_line(public_key: bytes, comment: str = "") -> str:
    """The line of authorized_keys and allowed_signers for an Ed25519 key (32 bytes)."""
    blob = base64.b64encode(_string(KEY_TYPE) + _string(public_key)).decode()
    return f"{KEY_TYPE.decode()} {blob} {comment}".rstrip()


def armored(namespace: str, public_key: bytes, signature: bytes) -> str:
    """The file that `ssh-keygen -Y verify` reads, from an Ed25519 key (32 bytes) and its signature (64 bytes)."""
    blob = (
        MAGIC
        + _VERSION.to_bytes(4, "big")
        + _string(_string(KEY_TYPE) + _string(public_key))
        + _string(namespace.encode())
        + _string(b"")
        + _string(HASH)
        + _string(_string(KEY_TYPE) + _string(signature))
    )
    body = "\n".join(textwrap.wrap(base64.b64encode(blob).decode(), _COLUMNS))
    return f"-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n"

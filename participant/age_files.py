"""Files in the format of the age tool: to X25519 recipients, or with a password."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyrage  # type: ignore[import-untyped]  # ships no types

from participant.errors import NodeError
from participant.files import read_private

AGE_HEADER: Final = b"age-encryption.org/"
AGE_ARMOR: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
_PASSWORD_STANZA: Final = b"\n-> scrypt "


class ShareFileError(NodeError):
    """Base of what can be wrong with a share file."""


class ShareFileLocked(ShareFileError):
    """The file is encrypted, and what was given does not open it."""


@dataclass(frozen=True)
class Unlock:
    """What opens an encrypted share file: age identities (AGE-SECRET-KEY-1...) or a password."""

    identities: Sequence[str] = field(default=(), repr=False)
    password: str | None = field(default=None, repr=False)


def read_age_identities(path: Path) -> list[str]:
    """The age secret keys in a file of mode 0600 as age-keygen writes it. Raises SecretFileError."""
    lines = read_private(path).decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def is_encrypted(data: bytes) -> bool:
    """Whether the bytes are an age file, binary or armoured."""
    return data.startswith((AGE_HEADER, AGE_ARMOR))


def decrypt(data: bytes, what: str, unlock: Unlock) -> bytes:
    """The content of an age file; `what` names it in errors. Raises ShareFileLocked."""
    by_password = _PASSWORD_STANZA in data[:256]
    armored = data.startswith(AGE_ARMOR)
    try:
        if unlock.password is not None and (by_password or armored):
            return bytes(pyrage.passphrase.decrypt(data, unlock.password))
        if unlock.identities and not by_password:
            keys = [pyrage.x25519.Identity.from_str(key) for key in unlock.identities]
            return bytes(pyrage.decrypt(data, keys))
    except pyrage.IdentityError:
        raise ShareFileLocked(
            f"cannot open {what}: an age identity is not of the form AGE-SECRET-KEY-1..."
        ) from None
    except pyrage.DecryptError as error:
        if by_password:
            raise ShareFileLocked(f"wrong password for {what}, or the file is damaged: {error}") from None
        raise ShareFileLocked(f"no given key opens {what}, or the file is damaged: {error}") from None
    needed = "its password" if by_password else "an age identity file of one of its recipients"
    raise ShareFileLocked(f"{what} is encrypted: give {needed}")


def encrypt(plain: bytes, *, recipients: Sequence[str] = (), password: str | None = None) -> bytes:
    """An age file for X25519 recipients (age1...) or for a password. Raises ShareFileError."""
    if bool(recipients) == bool(password):
        raise ShareFileError(
            "a share file is encrypted either to recipients or with a password: give one of them"
        )
    if password:
        return bytes(pyrage.passphrase.encrypt(plain, password))
    keys = []
    for recipient in recipients:
        try:
            keys.append(pyrage.x25519.Recipient.from_str(recipient))
        except pyrage.RecipientError:
            raise ShareFileError(f"{recipient!r} is not an age X25519 recipient (age1...)") from None
    return bytes(pyrage.encrypt(plain, keys))

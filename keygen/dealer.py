"""The trusted dealer: splits a key that exists already.

Whoever runs this has the whole key, and so had everybody before who could read it. A key that is made by its holders
together never was in one place; that is what `mpc-keygen create` is for.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from keygen.errors import Exit, KeygenError
from participant.files import read_private
from participant.payloads.addresses import base58check_decode
from participant.sharefile import ShareEntry
from participant.store import check_account_id
from tss.errors import ProtocolError
from tss.params import Suite
from tss.rand import Rng
from tss.records import KeyShare
from tss.transcript import hash_commit
from tss.vss import Polynomial, check_indices

MAX_KEY_TEXT: Final = 256
STDIN: Final = "-"

_XPRV_VERSIONS: Final = (bytes.fromhex("0488ade4"), bytes.fromhex("04358394"))
"""xprv and tprv of BIP-32."""
_XPRV_BYTES: Final = 78
CHAIN_CODE_BYTES: Final = 32


class BadKey(KeygenError):
    """What was given is no private key. The text never shows what it was."""

    def __init__(self, text: str) -> None:
        super().__init__(text, exit_code=Exit.FILES, reason="BAD_KEY")


@dataclass(frozen=True)
class ExistingKey:
    """The whole key."""

    x: int = field(repr=False)
    chain_code: bytes | None = field(repr=False)
    """32 bytes where the key came with one (an extended key)."""


def read_key(source: Path, suite: Suite) -> ExistingKey:
    """A key as 64 hexadecimal digits or as xprv, from a file of mode 0600 or, for "-", from standard input.

    Raises BadKey, SecretFileError.
    """
    if str(source) == STDIN and sys.stdin.isatty():
        # Typed or pasted: the terminal would show it.
        data = str(click.prompt("Private key", hide_input=True, err=True)).encode("utf-8", "replace")
    elif str(source) == STDIN:
        data = sys.stdin.buffer.read(MAX_KEY_TEXT + 1)
        if len(data) > MAX_KEY_TEXT:
            raise BadKey(f"standard input holds more than the {MAX_KEY_TEXT} bytes that a key may have")
    else:
        data = read_private(source, MAX_KEY_TEXT)
    what = "standard input" if str(source) == STDIN else str(source)
    text = data.decode("ascii", "replace").strip()
    if text.startswith(("xprv", "tprv")):
        return _extended(text, what, suite)
    return ExistingKey(_scalar(_hexadecimal(text, what), what, suite), None)


def _hexadecimal(text: str, what: str) -> bytes:
    digits = text.removeprefix("0x").lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise BadKey(
            f"{what} holds no private key: 64 hexadecimal digits, or an extended private key (xprv...), are expected"
        )
    return bytes.fromhex(digits)


def _extended(text: str, what: str, suite: Suite) -> ExistingKey:
    try:
        raw = base58check_decode(text)
    except ValueError:
        raise BadKey(f"{what} holds no extended private key: its check sum is wrong") from None
    # version, depth, parent's fingerprint, number, chain code, 0x00 and the key (BIP-32)
    if len(raw) != _XPRV_BYTES or raw[:4] not in _XPRV_VERSIONS or raw[45] != 0:
        raise BadKey(f"{what} holds no extended private key of BIP-32")
    return ExistingKey(_scalar(raw[46:], what, suite), raw[13:45])


def _scalar(data: bytes, what: str, suite: Suite) -> int:
    try:
        x = suite.group.scalar_from_bytes_checked(data)
        check_indices((x,), suite.group.q)
    except ProtocolError:
        raise BadKey(
            f"{what} holds no private key: the number is zero or not below the group's order"
        ) from None
    return x


def deal(
    account_id: str, key: ExistingKey, n: int, threshold: int, suite: Suite, rng: Rng = os.urandom
) -> list[ShareEntry]:
    """Shares of `key` for the parties 0 to n-1, by index; without a chain code of its own the key gets a random one.

    Raises StoreConflict for an impossible account id, ShareCorrupt for n or threshold out of range.
    """
    check_account_id(account_id)
    group = suite.group
    while True:
        polynomial = Polynomial.random(group, threshold, rng, constant=key.x)
        secrets = {index: polynomial.evaluate(index) for index in range(1, n + 1)}
        # A zero share or a zero highest coefficient has probability 2^-256, and is drawn again.
        if all(secrets.values()) and polynomial.coefficients[-1]:
            break
    X = group.mul_base(key.x)
    public = {index: group.mul_base(secret) for index, secret in secrets.items()}
    salt = rng(32)
    key_id = hash_commit(suite.proto, "dealt-key", salt, X)
    epoch = hash_commit(suite.proto, "dealt-epoch", salt, X, [public[index] for index in sorted(public)])
    chain_code = rng(CHAIN_CODE_BYTES) if key.chain_code is None else key.chain_code
    entries = []
    for index, secret in secrets.items():
        share = KeyShare(suite, key_id, epoch, threshold, index, X, dict(public), chain_code, secret)
        share.check()
        entries.append(ShareEntry(account_id, share, None, foreign=False))
    return entries

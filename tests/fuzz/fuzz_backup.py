"""Targets: the backup file, its proofs, and recovery keys.

A backup is large; an input says what is changed in one that is made here, and how.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from random import Random
from typing import Any

from backup_testing import SUITES, make, recovery_key
from fuzz_mutate import damaged, mutated
from fuzz_payloads import JSON_WORDS, json_mutated
from fuzz_target import OK, Choices, Target, judged, need, reads_back, text_of
from node_testing import node_keys

from participant.backup import backup, kem, pve
from participant.backup.errors import BackupError, BackupInvalid, BackupLocked, BadRecoveryKey
from tss.encoding import decode, encode

KEYS = [recovery_key("x25519", number) for number in range(2)]
SEALED = 8
"""The place of what nobody can verify in the body."""


@cache
def _made() -> bytes:
    return make([key.public for key in KEYS], 2)


@cache
def _body() -> list[Any]:
    values: list[Any] = decode(base64.b64decode(json.loads(_made())["body"]), backup._BODY)
    return values


@cache
def _found() -> backup.Backup:
    return backup.read(_made(), SUITES)


def _file(data: bytes) -> str:
    """The bytes themselves, or the file with a change to its JSON or its bytes: only the file as it was made is one."""
    choices = Choices(data)
    how, rng = choices.below(4), Random(choices.take(4))
    if how < 2:
        file = choices.rest() or _made()
    else:
        file = json_mutated(_made(), rng) if how == 2 else damaged(_made(), rng)
    try:
        backup.read(file, SUITES)
    except BackupError as error:
        return type(error).__name__
    need(file == _made(), "another file is a backup of this node, too")
    return OK


def _signed_body(data: bytes) -> str:
    """Its own node changed the body and signed it: the proofs show it, and what is sealed when it is opened."""
    choices = Choices(data)
    place, rng = choices.below(2 * SEALED + 2), Random(choices.take(4))
    before = _body()
    if place > SEALED:
        changed = mutated(encode(before), rng)
    else:
        changed = _with(before, place, rng)
    file = backup._outer(changed, node_keys()[0].sign(backup._signed(changed)))
    try:
        found = backup.read(file, SUITES)
    except BackupError as error:
        return type(error).__name__
    same = encode(before) == changed
    try:
        found.verify()
    except BackupInvalid:
        need(not same, "the backup as it was made does not verify")
        return "not proven"
    public = decode(changed, backup._BODY)[:SEALED]
    need(public == before[:SEALED], "another body is proven by the same rows")
    try:
        found.open(KEYS)
    except BackupInvalid:
        need(not same, "the backup as it was made does not open")
        return "not sealed"
    need(same, "something else was sealed and opens")
    return OK


def _with(values: list[Any], place: int, rng: Random) -> bytes:
    """ENC of the list with one item mutated, whatever came of it."""
    items = [mutated(encode(value), rng) if at == place else encode(value) for at, value in enumerate(values)]
    content = len(items).to_bytes(4, "big") + b"".join(items)
    return b"\x06" + len(content).to_bytes(4, "big") + content


def _proof(data: bytes) -> str:
    """The rows of one recovery key: no other rows are a proof, and what opens of them is what was proved."""
    choices = Choices(data)
    how, rng = choices.below(3), Random(choices.take(4))
    statement, proof = _found()._statement(0), _found().proofs[0]
    changed = (mutated, damaged)[how](proof, rng) if how < 2 else choices.rest() or proof
    try:
        pve.verify(statement, changed)
        need(changed == proof, "other rows are a proof, too")
    except BackupInvalid:
        need(changed != proof, "the proof does not hold")
    try:
        opened = pve.open_(statement, changed, KEYS[0])
    except (BackupInvalid, BackupLocked) as error:
        return type(error).__name__
    pairs = zip(opened, statement.points, strict=True)
    need(all(point.group.mul_base(x) == point for x, point in pairs), "other scalars are opened")
    return OK if changed == proof else "opens"


def _encoded(data: bytes) -> str:
    """A public key as a backup names it, its kind by the first byte."""
    kind, data = kem.KINDS[(data[0] if data else 0) % len(kem.KINDS)], data[1:]
    try:
        found = kem.public_of(kind, data)
    except BadRecoveryKey as error:
        return type(error).__name__
    need(found.encoded == data, "a key of another spelling")
    need(len(found.encapsulate(bytes(32))[1]) == found.ciphertext_bytes, "a ciphertext of another length")
    return OK


def _encapsulated(data: bytes) -> str:
    """A ciphertext for a key of the kind that the first byte says."""
    kinds = [kind for kind in kem.KINDS if kind != "rsa"]
    key = recovery_key(kinds[(data[0] if data else 0) % len(kinds)])
    return judged(key.decapsulate, (ValueError, BadRecoveryKey))(data[1:])


def _public_texts() -> list[bytes]:
    return [recovery_key(kind).public.to_text().encode() for kind in kem.KINDS]


def _named(key: kem.RecoveryPublic) -> tuple[str, bytes]:
    return key.kind, key.encoded


_read_public = judged(
    lambda d: _named(kem.read_public(text_of(d))),
    BadRecoveryKey,
    reads_back(
        lambda named: kem.public_of(*named).to_text().encode(), lambda d: _named(kem.read_public(d.decode()))
    ),
)
_read_private = judged(lambda d: kem.read_private(text_of(d)).public.encoded, BadRecoveryKey)
PEM = (b"-----BEGIN PUBLIC KEY-----\n", b"-----BEGIN PRIVATE KEY-----\n", b"mlkem768-x25519-private:")
SEEDED = ("x25519", "p256", "mlkem768-x25519")
"""Kinds whose keys follow from a seed."""

TARGETS = [
    Target("backup", _file, lambda: [bytes([how]) + bytes(4) for how in (2, 3)] + [b"\0\0\0\0\0{}"], JSON_WORDS, max_len=300, share=0.3),
    Target("backup-body", _signed_body, lambda: [bytes([place, 0, 0, 0, 0]) for place in range(SEALED + 2)], max_len=5, share=0.1),
    Target("backup-proof", _proof, lambda: [bytes([how, 0, 0, 0, 0]) for how in range(3)], max_len=200, share=0.1),
    Target(
        "recovery-key", _encoded, lambda: [bytes([at]) + recovery_key(kind).public.encoded for at, kind in enumerate(kem.KINDS)],
        max_len=1300, share=0.4,
    ),
    Target(
        "recovery-ciphertext", _encapsulated,
        lambda: [bytes([at]) + recovery_key(kind).public.encapsulate(bytes(32))[1] for at, kind in enumerate(SEEDED)],
        max_len=1200, share=0.4,
    ),
    Target("recovery-public", _read_public, _public_texts, PEM, max_len=2600, share=0.4),
    Target("recovery-private", _read_private, lambda: [recovery_key(kind).to_text().encode() for kind in SEEDED], PEM, max_len=400, share=0.4),
]  # fmt: skip

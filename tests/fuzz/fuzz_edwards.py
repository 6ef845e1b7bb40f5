"""Targets: what Ed25519 keys are asked to sign."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from embit import base58
from fuzz_mutate import mutated
from fuzz_target import OK, Target, need

from participant import payloads
from participant.payloads import AccountKeys, Message, PayloadError, SolanaTx, SshSignature, solana, ssh
from tss.encoding import decode as decode_value
from tss.encoding import encode
from tss.errors import PeerFault
from tss.groups import ED25519

KEY = ED25519.mul_base(7)
KEYS = AccountKeys(KEY, b"")
TABLE, PROGRAM, BLOCKHASH = b"\x07" * 32, bytes(32), b"\x0b" * 32


def _solana_messages() -> list[bytes]:
    """A transfer, legacy and version 0, the latter with a lookup; two signers; more than 127 bytes of data."""
    keys = b"\x03" + KEY.to_bytes() + TABLE + PROGRAM
    transfer = b"\x01\x02\x02\x00\x01\x0c" + b"\x02" + bytes(11)
    long = b"\x01\x02\x00\x80\x01" + bytes(128)
    lookup = b"\x01" + TABLE + b"\x01\x04\x01\x05"
    return [
        b"\x01\x00\x01" + keys + BLOCKHASH + transfer,
        b"\x80\x01\x00\x01" + keys + BLOCKHASH + transfer + lookup,
        b"\x02\x01\x01" + keys + BLOCKHASH + long,
    ]


def _solana(data: bytes) -> str:
    """What is taken has one end, names its own account alone, and writes addresses that another library reads."""
    try:
        message = solana.parse(data)
    except PayloadError:
        return "PayloadError"
    need(message.encoded == data, "it signs something else")
    for other in (data[:-1], data + b"\0"):
        try:
            solana.parse(other)
        except PayloadError:
            continue
        need(False, "with another end it is a message, too")
    for key in message.keys:
        need(key in data, "a key that is not in the message")
        need(base58.decode(solana.address(key)) == key, "embit reads another address")
        try:
            summary = message.summary(key)
        except PayloadError:
            need(key not in message.keys[: message.signers], "a signer that cannot sign")
            continue
        need(summary.fee_payer == summary.signers[0] == summary.accounts[0], "somebody else pays")
        need(len(summary.programs) == len(message.programs), "an instruction less")
    return OK


def _ssh_strings(data: bytes) -> list[bytes]:
    """RFC 4251's strings, read the plain way."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        need(len(data) >= 4 + size, "a string ends early")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def _ssh(data: bytes) -> str:
    """Namespace up to the first zero byte, then the message."""
    namespace, _, message = data.partition(b"\0")
    try:
        payload = SshSignature(namespace.decode("utf-8", "surrogateescape"), message)
    except PayloadError:
        return "PayloadError"
    signed = ssh.signed_data(payload.namespace, message)
    fields = [namespace, b"", b"sha512", hashlib.sha512(message).digest()]
    need(signed[:6] == b"SSHSIG" and _ssh_strings(signed[6:]) == fields, "what is signed says something else")
    return OK


def _key_line(data: bytes) -> str:
    """The line of a public key of these 32 bytes, with a comment, as another library reads it."""
    key = data[:32].ljust(32, b"\0")
    comment = data[32:].decode("ascii", "ignore")
    line = ssh.public_key_line(key, "".join(filter(str.isalnum, comment)))
    found = load_ssh_public_key(line.encode())
    need(isinstance(found, Ed25519PublicKey) and found.public_bytes_raw() == key, "another key")
    return OK


def _payload(data: bytes) -> str:
    """As it travels, asked of an account of Ed25519."""
    try:
        payload = payloads.from_value(decode_value(data, payloads.SCHEMA))
    except (PeerFault, PayloadError) as error:
        return type(error).__name__
    need(encode(payloads.to_value(payload)) == data, "a payload of another spelling")
    try:
        decoded = payloads.decode(payload, KEYS)
    except PayloadError:
        return "undecodable"
    (due,) = decoded.digests
    need(due.message is not None and due.public_key == KEY.to_bytes(), "another key, or nothing to sign")
    need(due.digest == hashlib.sha256(due.message or b"").digest(), "an id of another message")
    return OK


def _payload_seeds() -> Iterator[bytes]:
    some = [Message(b"hello", "none"), *map(SolanaTx, _solana_messages()), SshSignature("git", b"commit")]
    yield from (encode(payloads.to_value(payload)) for payload in some)


TARGETS = [
    Target("solana", _solana, _solana_messages, (TABLE, b"\x80\x01", b"\xff\xff\x03"), max_len=1300, share=3),
    Target("ssh", _ssh, lambda: [b"file\0message", b"git\0"], max_len=600, share=6),
    Target("ssh-key-line", _key_line, lambda: [KEY.to_bytes() + b"me"], max_len=80, share=2),
    Target("payload-ed25519", _payload, _payload_seeds, mutate=mutated, share=0.8),
]

"""What Ed25519 keys sign: messages as they are, Solana transactions, SSHSIG; checked by foreign code."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bip_utils import SolAddrEncoder
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from payload_testing import TestAccount
from programs import needed

from participant.payloads import (
    AccountKeys,
    Decoded,
    Digest,
    EthereumTx,
    Message,
    Payload,
    PayloadError,
    Signature,
    SolanaTx,
    SshSignature,
    TypedData,
    decode,
    finish,
    from_value,
    halves,
    solana,
    ssh,
    to_value,
)
from tss.errors import CallerError
from tss.groups import ED25519

ACCOUNT = TestAccount(b"\1" * 32)
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = SECRET.public_key().public_bytes_raw()
KEYS = AccountKeys(ED25519.decode_point(KEY), b"")
BLOCKHASH, SYSTEM, TO = b"\x0b" * 32, bytes(32), b"\x07" * 32
TRANSFER = b"\x02\0\0\0" + (1000).to_bytes(8, "little")


def signed(decoded: Decoded) -> Signature:
    (due,) = decoded.digests
    assert due.message is not None
    assert due.digest == hashlib.sha256(due.message).digest()
    encoded = SECRET.sign(due.message)
    return Signature(int.from_bytes(encoded[:32], "big"), int.from_bytes(encoded[32:], "big"), 0)


@dataclass
class Draft:
    """A Solana message, written out."""

    header: bytes = b"\x01\x00\x01"
    keys: tuple[bytes, ...] = (KEY, TO, SYSTEM)
    count: bytes | None = None
    blockhash: bytes = BLOCKHASH
    instructions: bytes = b"\x01" + b"\x02" + b"\x02\x00\x01" + bytes([len(TRANSFER)]) + TRANSFER
    prefix: bytes = b""
    suffix: bytes = b""

    def encode(self) -> bytes:
        count = bytes([len(self.keys)]) if self.count is None else self.count
        keys = b"".join(self.keys)
        return self.prefix + self.header + count + keys + self.blockhash + self.instructions + self.suffix


def test_a_message_is_signed_as_it_is() -> None:
    decoded = decode(Message(b"hello", "none"), KEYS)
    (due,) = decoded.digests
    assert (due.message, due.public_key, due.path) == (b"hello", KEY, ())
    assert "hello" not in repr(due)
    signature = signed(decoded)
    assert finish(Message(b"hello", "none"), decoded, (signature,)).raw_transaction is None
    SECRET.public_key().verify(halves(signature), b"hello")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: Signature(s.r ^ 1, s.s, 0),
        lambda s: Signature(s.r, s.s ^ 1, 0),
        lambda s: Signature(s.r, s.s, 1),
        lambda s: Signature(s.r + (1 << 256), s.s, 0),
        lambda s: Signature(s.r, s.s + int.from_bytes(ED25519.q.to_bytes(32, "little"), "big"), 0),
        lambda s: Signature(s.s, s.r, 0),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(change: Any) -> None:
    decoded = decode(Message(b"hello", "none"), KEYS)
    with pytest.raises(PayloadError, match="signature 0 is not one of the key"):
        finish(Message(b"hello", "none"), decoded, (change(signed(decoded)),))


@pytest.mark.parametrize(
    "payload",
    [
        Digest(bytes(32)),
        TypedData.parse({
            "types": {"EIP712Domain": [], "Nothing": []}, "primaryType": "Nothing", "domain": {}, "message": {},
        }),
        EthereumTx.parse({"chainId": 1, "nonce": 0, "gasPrice": 1, "gas": 21000, "to": "0x" + "11" * 20, "value": 0}),
    ],
    ids=lambda payload: payload.kind,
)  # fmt: skip
def test_what_an_ed25519_key_does_not_sign(payload: Payload) -> None:
    with pytest.raises(PayloadError, match="signs no payload of kind"):
        decode(payload, KEYS)


def test_keys_and_hashes_that_do_not_go_together() -> None:
    with pytest.raises(PayloadError, match="not its keccak256"):
        decode(Message(b"m", "keccak256"), KEYS)
    for payload in (Message(b"m", "none"), SolanaTx(Draft().encode()), SshSignature("file", b"m")):
        with pytest.raises(PayloadError, match="for keys of Ed25519"):
            decode(payload, ACCOUNT)
    with pytest.raises(CallerError, match="no public derivation"):
        decode(Message(b"m", "none"), KEYS, (0,))


@pytest.mark.parametrize(
    "payload",
    [Message(b"m", "none"), SolanaTx(Draft().encode()), SshSignature("git", b"m")],
    ids=lambda payload: payload.kind,
)
def test_payloads_travel(payload: Payload) -> None:
    assert from_value(to_value(payload)) == payload


# -- Solana ------------------------------------------------------------------------------------------------------


def test_addresses_are_those_of_another_library() -> None:
    for key in (KEY, SECRET.public_key().public_bytes_raw(), ED25519.G.to_bytes()):
        assert solana.address(key) == SolAddrEncoder.EncodeKey(key)
    assert solana.address(SYSTEM) == "1" * 32


def test_a_transfer_is_decoded_and_finished() -> None:
    message = Draft().encode()
    decoded = decode(SolanaTx(message), KEYS)
    own = solana.address(KEY)
    assert decoded.summary == solana.SolanaSummary(
        fee_payer=own,
        signers=(own,),
        programs=("1" * 32,),
        accounts=(own, solana.address(TO), "1" * 32),
        blockhash=solana.address(BLOCKHASH),
    )
    signature = signed(decoded)
    done = finish(SolanaTx(message), decoded, (signature,))
    assert done.raw_transaction == b"\x01" + halves(signature) + message
    SECRET.public_key().verify(halves(signature), message)


def test_version_0_and_several_signers() -> None:
    lookup = b"\x01" + b"\x09" * 32 + b"\x01\x05" + b"\x00"
    message = Draft(
        prefix=b"\x80", header=b"\x02\x01\x01", keys=(TO, KEY, SYSTEM), suffix=lookup,
        instructions=b"\x01\x02\x02\x00\x03\x00",
    ).encode()  # fmt: skip
    decoded = decode(SolanaTx(message), KEYS)
    assert decoded.summary.fee_payer == solana.address(TO)
    assert finish(SolanaTx(message), decoded, (signed(decoded),)).raw_transaction is None
    with pytest.raises(PayloadError, match="is not among those who sign"):
        decode(SolanaTx(Draft(keys=(TO, KEY, SYSTEM)).encode()), KEYS)


WRONG = {
    "empty": (b"", "ends early"),
    "cut": (Draft().encode()[:-1], "ends early"),
    "something behind": (Draft().encode() + b"\0", "stands behind"),
    "version 1": (Draft(prefix=b"\x81").encode(), "version 1"),
    "no signer": (Draft(header=b"\0\0\1").encode(), "header"),
    "more signers than keys": (Draft(header=b"\4\0\0").encode(), "header"),
    "only readers sign": (Draft(header=b"\1\1\1").encode(), "header"),
    "more readers than keys": (Draft(header=b"\1\0\3").encode(), "header"),
    "a key twice": (Draft(keys=(KEY, KEY, SYSTEM)).encode(), "occurs twice"),
    "a length of two bytes that needs one": (Draft(count=b"\x83\x00").encode(), "shortest form"),
    "a length of four bytes": (Draft(count=b"\x83\x80\x80\x01").encode(), "shortest form"),
    "a length above 65535": (Draft(count=b"\xff\xff\x07").encode(), "shortest form"),
    "the fee payer as a program": (Draft(instructions=b"\1\0\0\0").encode(), "a key that is not there"),
    "a program that is not there": (Draft(instructions=b"\1\3\0\0").encode(), "a key that is not there"),
    "an account that is not there": (Draft(instructions=b"\1\2\1\3\0").encode(), "a key that is not there"),
    "a lookup of nothing": (
        Draft(prefix=b"\x80", suffix=b"\1" + bytes(32) + b"\0\0").encode(),
        "takes nothing",
    ),
    "too long": (Draft().encode() + bytes(1232), "at most 1232"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_solana_message(name: str) -> None:
    data, text = WRONG[name]
    with pytest.raises(PayloadError, match=text):
        SolanaTx(data)


# -- SSH ---------------------------------------------------------------------------------------------------------


def test_ssh_keygen_verifies(tmp_path: Path) -> None:
    """OpenSSH itself, on the file that our client writes."""
    needed("ssh-keygen")
    payload = SshSignature("file", b"the content of a file")
    decoded = decode(payload, KEYS)
    armored = ssh.armored("file", KEY, halves(signed(decoded)))
    (tmp_path / "allowed").write_text(f"operator@example {ssh.public_key_line(KEY)}\n")
    (tmp_path / "signature").write_text(armored)
    command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "operator@example"]
    for content, good in ((payload.message, True), (b"another content", False)):
        found = subprocess.run(
            [*command, "-n", "file", "-s", tmp_path / "signature"],
            input=content,
            capture_output=True,
            check=False,
        )
        assert (found.returncode == 0) is good, found


def test_what_is_signed_for_ssh() -> None:
    decoded = decode(SshSignature("git", b"commit"), KEYS)
    digest = hashlib.sha512(b"commit").digest()
    fields = b"".join(len(part).to_bytes(4, "big") + part for part in (b"git", b"", b"sha512", digest))
    assert decoded.digests[0].message == b"SSHSIG" + fields
    assert decoded.summary == ssh.SshSummary("git", b"commit")
    line = ssh.public_key_line(KEY, "a comment")
    assert line.endswith(" a comment")
    assert load_ssh_public_key(line.encode()).public_bytes_raw() == KEY


@pytest.mark.parametrize("namespace", ["", "x" * 21, "fi\nle", "dätei"])
def test_what_is_no_namespace(namespace: str) -> None:
    with pytest.raises(PayloadError, match="is not 1 to 20 printable"):
        SshSignature(namespace, b"m")


def test_the_longest_messages() -> None:
    SshSignature("file", bytes(ssh.MAX_MESSAGE))
    with pytest.raises(PayloadError, match="at most 262144"):
        SshSignature("file", bytes(ssh.MAX_MESSAGE + 1))
    Message(bytes(65_536), "none")
    with pytest.raises(PayloadError, match="at most 65536"):
        Message(bytes(65_537), "none")

"""What the client asks of Ed25519 accounts, and what it believes of the answer: nothing that it can check."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.errors import RequestFailed
from client.request import Answer, Request, Signed, checked, new_request, payload_of
from client.service import of_sign_response, to_sign_request
from kit.pb.wallet.v1 import wallet_pb2
from participant.payloads import Message, SolanaTx, SshSignature, solana, ssh
from participant.services.requests import payload as payload_on_the_wire

SECRET = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
KEY = SECRET.public_key().public_bytes_raw()
TRANSACTION = b"\x01\x00\x01\x02" + KEY + bytes(32) + b"\x0b" * 32 + b"\x01\x01\x01\x00\x00"


def answered(request: Request, signed: bytes, **change: Any) -> Answer:
    """An honest service's answer over `signed`, with `change` of its signature."""
    signature = SECRET.sign(signed)
    one = Signed(
        (), hashlib.sha256(signed).digest(), KEY,
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"), 0,
    )  # fmt: skip
    raw = b"\x01" + signature + signed if isinstance(request.payload, SolanaTx) else None
    return Answer((replace(one, **change),), (0, 1), raw)


def ask(**what: Any) -> Request:
    return new_request("ed", payload_of(**what))


CASES = {
    "message": (ask(message="text", hash="none"), b"text"),
    "solana": (ask(solana=TRANSACTION), TRANSACTION),
    "ssh": (ask(message=b"a file", ssh_namespace="file"), ssh.signed_data("file", b"a file")),
}


@pytest.mark.parametrize("name", CASES)
def test_an_honest_answer(name: str) -> None:
    request, signed = CASES[name]
    result = checked(request, answered(request, signed), KEY)
    assert result.signature == SECRET.sign(signed)
    assert (result.public_key, result.address) == (KEY, solana.address(KEY))
    found = result.as_dict()
    assert found["signature"] == "0x" + SECRET.sign(signed).hex()
    assert (found.get("ssh_signature") or "").startswith("-----BEGIN SSH" if name == "ssh" else "")
    assert (result.raw_transaction is not None) is (name == "solana")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "change",
    [{"r": 5}, {"s": 5}, {"v": 1}, {"digest": b"d" * 32}, {"public_key": b"\x58" + b"\x66" * 31}, {"path": (0,)}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_answer_that_is_none(name: str, change: dict[str, Any]) -> None:
    request, signed = CASES[name]
    with pytest.raises(RequestFailed) as caught:
        checked(request, answered(request, signed, **change), KEY)
    assert caught.value.reason == "BAD_ANSWER"


@pytest.mark.parametrize("name", CASES)
def test_what_travels(name: str) -> None:
    request, _ = CASES[name]
    assert payload_on_the_wire(to_sign_request(request)) == request.payload
    halves = b"\x01" * 32, b"\x02" * 32
    answer = of_sign_response(wallet_pb2.SignResponse(r=halves[0], s=halves[1], public_key=KEY, path="m"))
    assert (answer.signed[0].r.to_bytes(32, "big"), answer.signed[0].public_key) == (halves[0], KEY)


def test_how_payloads_are_given() -> None:
    assert payload_of(solana=base64.b64encode(TRANSACTION).decode()) == SolanaTx(TRANSACTION)
    assert payload_of(message="m", hash="none") == Message(b"m", "none")
    assert payload_of(message="m", ssh_namespace="git") == SshSignature("git", b"m")
    for wrong in (
        {"solana": "not base64!"},
        {"solana": b"short"},
        {"ssh_namespace": "git"},
        {"solana": TRANSACTION, "message": "m"},
        {"message": "m", "ssh_namespace": ""},
        {"solana": TRANSACTION, "ssh_namespace": "git"},
    ):
        with pytest.raises(RequestFailed) as caught:
            payload_of(**wrong)
        assert caught.value.reason == "INVALID_REQUEST"

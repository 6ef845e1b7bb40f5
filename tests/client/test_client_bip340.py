"""What the client asks of secp256k1 accounts by BIP-340, and what it believes of the answer: nothing that it can check."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PublicKeyXOnly
from payload_testing import TestAccount

from client.errors import RequestFailed
from client.request import Answer, Request, Signed, checked, new_request, payload_of
from client.service import of_sign_response, to_sign_request
from kit.pb.wallet.v1 import wallet_pb2
from participant.payloads import Bip340, Digest, Message, address_of, decode
from participant.services.requests import payload as payload_on_the_wire
from tss.frost.bip340 import NO_SCRIPTS, signing_key
from tss.frost.ciphersuite import x_only
from tss.groups import SECP256K1

ACCOUNT = TestAccount(b"\x06" * 32)
KEY, PATH = ACCOUNT.public_key((4,)), (4,)
DIGEST, ROOT = hashlib.sha256(b"digest").digest(), hashlib.sha256(b"scripts").digest()


def ask(**what: Any) -> Request:
    return new_request("main", payload_of(**what), path="m/4")


CASES = {
    "key": (ask(digest=DIGEST, bip340="key"), Bip340()),
    "output": (ask(digest=DIGEST, bip340="taproot"), Bip340(NO_SCRIPTS)),
    "scripts": (ask(digest=DIGEST, bip340="0x" + ROOT.hex()), Bip340(ROOT)),
    "message": (ask(message="an event", hash="sha256", bip340="key"), Bip340()),
}


def answered(request: Request, **change: Any) -> Answer:
    """An honest service's answer, with `change` of its signature."""
    (due,) = decode(request.payload, ACCOUNT, PATH).digests
    signature = ACCOUNT.sign_due(due)
    one = Signed(PATH, due.digest, KEY, signature.r, signature.s, signature.v)
    return Answer((replace(one, **change),), (0, 1))


@pytest.mark.parametrize("name", CASES)
def test_an_honest_answer(name: str) -> None:
    request, bip340 = CASES[name]
    result = checked(request, answered(request), ACCOUNT.public_key(()))
    key = x_only(signing_key(SECP256K1.decode_point(KEY), bip340.taproot))
    assert PublicKeyXOnly(key).verify(result.signature, result.digest)
    assert (result.public_key, result.address, result.bip340) == (KEY, address_of(KEY, bip340), True)
    assert result.as_dict()["signature"] == "0x" + result.signature.hex()
    assert (result.address == "") == (bip340.taproot is None)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "change",
    [{"r": 5}, {"s": 5}, {"v": 1}, {"digest": b"d" * 32}, {"public_key": ACCOUNT.public_key((5,))}, {"path": (0,)}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_answer_that_is_none(name: str, change: dict[str, Any]) -> None:
    request, _ = CASES[name]
    with pytest.raises(RequestFailed) as caught:
        checked(request, answered(request, **change))
    assert caught.value.reason == "BAD_ANSWER"


def test_an_answer_by_another_scheme_is_none() -> None:
    request, _ = CASES["key"]
    by_ecdsa = ACCOUNT.sign(PATH, DIGEST)
    with pytest.raises(RequestFailed, match="BIP-340"):
        checked(request, answered(request, r=by_ecdsa.r, s=by_ecdsa.s, v=by_ecdsa.v))
    plain = ask(digest=DIGEST)
    with pytest.raises(RequestFailed):
        checked(plain, answered(request))
    assert not checked(plain, answered(plain)).bip340


@pytest.mark.parametrize("name", CASES)
def test_what_travels(name: str) -> None:
    request, bip340 = CASES[name]
    assert payload_on_the_wire(to_sign_request(request)) == request.payload
    assert isinstance(request.payload, Digest | Message)
    assert request.payload.bip340 == bip340
    assert not to_sign_request(ask(digest=DIGEST)).HasField("bip340")
    halves = b"\x01" * 32, b"\x02" * 32
    answer = of_sign_response(wallet_pb2.SignResponse(r=halves[0], s=halves[1], public_key=KEY, path="m/4"))
    assert (answer.signed[0].s.to_bytes(32, "big"), answer.signed[0].v) == (halves[1], 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"digest": DIGEST, "bip340": "none"},
        {"digest": DIGEST, "bip340": ROOT.hex()[1:]},
        {"digest": DIGEST, "bip340": "z" * 64},
        {"message": "m", "bip340": "taproot"},
        {"message": "m", "hash": "none", "bip340": "key"},
        {"message": "m", "ssh_namespace": "git", "bip340": "key"},
        {"psbt": b"psbt\xff", "bip340": "key"},
    ],
)
def test_what_cannot_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestFailed) as caught:
        payload_of(**wrong)
    assert caught.value.reason == "INVALID_REQUEST"

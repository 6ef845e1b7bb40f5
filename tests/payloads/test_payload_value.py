from __future__ import annotations

import json
import random
from base64 import b64encode
from typing import Any

import pytest
from eth_account import Account
from payload_samples import PAYLOADS, PSBT, TRANSACTION, TYPED
from payload_testing import TestAccount, sign

from participant.payloads import (
    SCHEMA,
    AccountKeys,
    Decoded,
    Digest,
    DigestSummary,
    DigestToSign,
    EthereumTx,
    Finished,
    Keys,
    Message,
    MessageSummary,
    Payload,
    PayloadError,
    PsbtTx,
    Signature,
    TypedData,
    decode,
    finish,
    from_value,
    to_value,
)
from participant.payloads import ethereum as ethereum_module
from participant.payloads import typed_data as typed_data_module
from tss.encoding import decode as enc_decode
from tss.encoding import encode as enc_encode
from tss.errors import HardenedPath, SchemaViolation
from tss.groups import SECP256K1

ACCOUNT = TestAccount(b"\5" * 32)
UNSIGNED = EthereumTx.parse(TRANSACTION).unsigned
CANONICAL = TypedData.parse(TYPED).json
MAX_BODY = 2_097_152


def refused(says: str, make: Any, *arguments: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        make(*arguments)
    assert caught.value.what == says
    return caught.value


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda p: p.kind)
def test_a_payload_survives_its_proposal(payload: Payload) -> None:
    data = enc_encode(to_value(payload))
    assert from_value(enc_decode(data, SCHEMA)) == payload


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (Digest(bytes(32)), ["digest", bytes(32), None]),
        (Message(b"hello", "eip191"), ["message", b"hello", b"eip191"]),
        (EthereumTx(UNSIGNED), ["ethereum_tx", UNSIGNED, None]),
        (EthereumTx(UNSIGNED, b"\1" * 20), ["ethereum_tx", UNSIGNED, b"\1" * 20]),
        (TypedData(CANONICAL), ["typed_data", CANONICAL, None]),
        (PsbtTx(PSBT), ["psbt", PSBT, None]),
    ],
)
def test_what_travels(payload: Payload, value: list[Any]) -> None:
    assert to_value(payload) == value
    assert from_value(value) == payload


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (["digest", bytes(31), None], "the digest has 31 bytes, exactly 32 are due"),
        (["digest", bytes(32), b"x"], "the payload says in no known way how it is signed"),
        (["message", b"", None], "unknown hash ''"),
        (["message", b"", b"md5"], "unknown hash 'md5'"),
        (["message", b"", b"\xff"], "unknown hash '\ufffd'"),
        (["ethereum_tx", UNSIGNED, b"short"], "from has 5 bytes, 20 are due"),
        (["ethereum_tx", UNSIGNED, b"\1" * 19], "from has 19 bytes, 20 are due"),
        (["ethereum_tx", b"", None], "the transaction is empty"),
        (["typed_data", json.dumps(TYPED).encode(), None], "the typed data is not in its canonical spelling"),
        (["typed_data", CANONICAL, b"x"], "a payload of kind typed_data takes no third item"),
        (["psbt", b"", None], "this is no PSBT"),
        (["psbt", PSBT, b"x"], "a payload of kind psbt takes no third item"),
        (["solana_tx", b"", None], "the Solana message ends early"),
        (["solana_tx", b"", b"x"], "a payload of kind solana_tx takes no third item"),
        (["sshsig", b"", None], "the SSH namespace '' is not 1 to 20 printable ASCII characters"),
        (
            ["message", bytes(65_537), b"none"],
            "the message has 65537 bytes, at most 65536 are signed as they are",
        ),
        (["cardano_tx", b"", None], "unknown kind of payload 'cardano_tx'"),
    ],
)
def test_a_proposal_with_a_payload_that_is_none(value: list[Any], says: str) -> None:
    refused(says, from_value, enc_decode(enc_encode(value), SCHEMA))


def test_size_bounds_of_the_schema() -> None:
    for value in (
        ["k" * 16, b"", None],
        ["psbt", bytes(MAX_BODY), None],
        ["message", b"", b"x"],
        ["message", b"", b"x" * 53],
    ):
        assert enc_decode(enc_encode(value), SCHEMA) == value
    for value in (
        ["k" * 17, b"", None],
        ["psbt", bytes(MAX_BODY + 1), None],
        ["message", b"", b""],
        ["message", b"", b"x" * 54],
    ):
        with pytest.raises(SchemaViolation):
            enc_decode(enc_encode(value), SCHEMA)


def test_a_transaction_in_every_form() -> None:
    expected = EthereumTx(UNSIGNED)
    text = json.dumps(TRANSACTION)
    for source in (
        TRANSACTION,
        text,
        text.encode(),
        f"\n {text} ",
        f"\n {text} ".encode(),
        UNSIGNED,
        "0x" + UNSIGNED.hex(),
        f" \n0x{UNSIGNED.hex().upper()}\n",
    ):
        assert EthereumTx.parse(source) == expected
    named = {**TRANSACTION, "from": "0x" + "22" * 20}
    assert EthereumTx.parse(named) == EthereumTx(UNSIGNED, b"\x22" * 20)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("0xzz", "the transaction is not hex"),
        ("0x" + UNSIGNED.hex()[:-1], "the transaction is not hex"),
        ("\ud800", "the transaction is not Unicode text"),
        ("{" + " " * 400_000 + "}", "the transaction has 400002 bytes, at most 327680 are taken"),
        ("", "the transaction is not JSON: Expecting value at line 1, column 1"),
        (b"0x" + UNSIGNED.hex().encode(), "first byte 0x30 begins no transaction"),
    ],
)
def test_text_that_is_neither_json_nor_hex(source: Any, says: str) -> None:
    refused(says, EthereumTx.parse, source)


def test_typed_data_in_every_form() -> None:
    for source in (TYPED, json.dumps(TYPED), json.dumps(TYPED, indent=2).encode(), CANONICAL):
        assert TypedData.parse(source) == TypedData(CANONICAL)


def test_a_psbt_in_every_form() -> None:
    encoded = b64encode(PSBT).decode()
    wrapped = f"\n{encoded[:20]}\r\n {encoded[20:]}\n"
    for text in (encoded, wrapped, PSBT.hex(), PSBT.hex().upper(), f" {PSBT.hex()[:9]} {PSBT.hex()[9:]}\n"):
        assert PsbtTx.parse(text) == PsbtTx.parse(text.encode()) == PsbtTx(PSBT)
    assert PsbtTx.parse(PSBT) == PsbtTx(PSBT)


@pytest.mark.parametrize(
    "source",
    [
        b64encode(PSBT).decode() + "!",
        "*" + b64encode(PSBT).decode(),
        b64encode(PSBT).decode()[:-1],
        PSBT.hex() + "0",
        PSBT.hex() + "zz",
        "\u00e9",
        b"\xff" + PSBT,
        b"",
    ],
)
def test_what_is_no_psbt(source: str | bytes) -> None:
    error = refused("this is no PSBT", PsbtTx.parse, source)
    assert error.remedy == "give its bytes, base64 or hex" or not source


@pytest.mark.parametrize(
    ("payload", "digest", "summary"),
    [
        (Digest(bytes(range(32))), bytes(range(32)), DigestSummary(bytes(range(32)))),
        (
            Message(b"abc", "sha256"),
            bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            MessageSummary(b"abc", "sha256"),
        ),
        (
            TypedData(CANONICAL),
            typed_data_module.parse(TYPED).digest,
            typed_data_module.parse(TYPED).summary,
        ),
        (
            EthereumTx(UNSIGNED),
            ethereum_module.from_bytes(UNSIGNED).digest(),
            ethereum_module.from_bytes(UNSIGNED).summary(),
        ),
    ],
)
@pytest.mark.parametrize("path", [(), (1, 2)])
def test_one_digest_under_the_key_at_the_path(
    payload: Payload, digest: bytes, summary: Any, path: tuple[int, ...]
) -> None:
    account = TestAccount(b"\6" * 32)
    decoded = decode(payload, account, path)
    assert set(account.asked) == {path}
    assert decoded == Decoded((DigestToSign(digest, path, account.public_key(path), None),), summary)
    done = finish(payload, decoded, account.sign_all(decoded))
    if isinstance(payload, EthereumTx):
        assert done.psbt is None
        assert done.raw_transaction is not None
        assert (
            Account.recover_transaction(done.raw_transaction)
            == Account.from_key(account.private_key(path)).address
        )
    else:
        assert done == Finished(None, None)


@pytest.mark.parametrize("payload", PAYLOADS[:-1], ids=lambda p: p.kind)
def test_nothing_is_finished_with_a_signature_that_does_not_fit(payload: Payload) -> None:
    if isinstance(payload, EthereumTx):
        payload = EthereumTx(payload.unsigned)
    decoded = decode(payload, ACCOUNT)
    good = sign(ACCOUNT.private_key(), decoded.digests[0].digest)
    for signatures in (), (good, good), (Signature(good.r, good.s, good.v ^ 1),):
        with pytest.raises(PayloadError, match="signature"):
            finish(payload, decoded, signatures)


def test_a_psbt_goes_its_own_way() -> None:
    """With all arguments; what becomes of them is tested with the PSBTs of others."""
    error = refused(
        "no unsigned input of this PSBT belongs to the account's key", decode, PsbtTx(PSBT), ACCOUNT, (1,)
    )
    assert error.remedy
    decoded = decode(Digest(bytes(32)), ACCOUNT)
    refused("these digests are not of a PSBT", finish, PsbtTx(PSBT), decoded, ACCOUNT.sign_all(decoded))


def test_from_must_be_the_accounts_address() -> None:
    right = Account.from_key(ACCOUNT.private_key((3,))).address
    other = Account.from_key(ACCOUNT.private_key((4,))).address
    payload = EthereumTx.parse({**TRANSACTION, "from": right})
    assert decode(payload, ACCOUNT, (3,)) == decode(EthereumTx(UNSIGNED), ACCOUNT, (3,))
    refused(f"from is {right}, but the key at this path has {other}", decode, payload, ACCOUNT, (4,))


def test_account_keys_derive_as_bip_utils_does() -> None:
    rng = random.Random(3)
    account = TestAccount(rng.randbytes(32), chain_code := rng.randbytes(32))
    keys = AccountKeys(SECP256K1.decode_point(account.public_key(())), chain_code)
    assert isinstance(keys, Keys)
    for _ in range(20):
        path = tuple(rng.randrange(1 << 31) for _ in range(rng.randrange(5)))
        assert keys.public_key(path) == account.public_key(path)
        assert keys.public_key(path) == account.public_key(path), "the kept one"
    with pytest.raises(HardenedPath):
        keys.public_key((1 << 31,))
    assert chain_code.hex() not in repr(keys)
    assert str(chain_code)[2:-1] not in repr(keys)

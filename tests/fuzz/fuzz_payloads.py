"""Targets: what is asked to be signed. Where an independent implementation reads the same format, both must agree."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import rlp
from embit import base58, bech32
from embit.psbt import PSBT
from embit.transaction import Transaction as EmbitTransaction
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_account.typed_transactions import TypedTransaction
from fuzz_mutate import damaged, mutated
from fuzz_target import OK, Target, Violation, judged, need, text_of, writes_back
from payload_testing import TestAccount, sign

from participant import payloads
from participant.payloads import PayloadError, addresses, bitcoin, ethereum, strict_json, typed_data
from participant.payloads.bitcoin_transaction import Cursor, Transaction, compact_size
from participant.payloads.payload import EthereumTx, PsbtTx, TypedData
from participant.payloads.psbt import Psbt
from tss.encoding import decode as decode_value
from tss.encoding import encode
from tss.errors import PeerFault

SECRET = b"\7" * 32
_VECTORS = Path(__file__).parents[1] / "payloads" / "psbt-vectors.json"


class Known:
    """`Keys` that derives each path once."""

    def __init__(self) -> None:
        self.account = TestAccount(SECRET)
        self.public_key = lru_cache(maxsize=4096)(self.account.public_key)


KEYS = Known()

# -- JSON --------------------------------------------------------------------------------------------------------


def _json(data: bytes) -> str:
    """Against the standard library's parser, which takes more."""
    try:
        value = strict_json.loads(data, "the text", 4096)
    except PayloadError:
        return "PayloadError"
    need(json.loads(data) == value, "the standard library reads something else")
    again = strict_json.canonical(value)
    need(strict_json.loads(again, "the text", 1 << 16) == value, "its canonical form reads as another value")
    need(strict_json.canonical(json.loads(again)) == again, "two canonical forms")
    return OK


JSON_WORDS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"null", b"true", b"false", b"\\u0000", b"\\ud800", b"\\udc00", b"1e9", b"NaN",
    b"-Infinity", b"1.5", b"-0", b"0x", b"\xef\xbb\xbf", b"\xc2\xa0",
)  # fmt: skip


def json_mutated(data: bytes, rng: Random) -> bytes:
    """Another JSON value with one place changed; what is no JSON is damaged."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return damaged(data, rng)
    try:
        return json.dumps(_twisted(value, rng), ensure_ascii=rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    except (ValueError, RecursionError):
        return damaged(data, rng)


def _twisted(value: Any, rng: Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        choice = rng.randrange(10)
        if choice == 0:
            return {k: v for k, v in value.items() if k != key}
        if choice == 1:
            return {
                **value,
                rng.choice(["x", "", "type", "from", "\ud800", key.upper(), key + " "]): value[key],
            }
        if choice == 2:
            other = rng.choice(list(value))
            return {**value, key: value[other], other: value[key]}
        return {**value, key: _twisted(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at, choice = rng.randrange(len(value)), rng.randrange(6)
        if choice == 0:
            return value[:at] + value[at + 1 :]
        if choice == 1:
            return value[:at] + value[at:] * 2
        return [*value[:at], _twisted(value[at], rng), *value[at + 1 :]]
    if isinstance(value, str) and rng.random() < 0.6:
        return damaged(value.encode("utf-8", "surrogatepass"), rng).decode("utf-8", "replace")
    if isinstance(value, int) and rng.random() < 0.6:
        return rng.choice([value + 1, value - 1, -value, value << 64, 1 << 256, (1 << 256) - 1, 10**90])
    return rng.choice(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            1.5,
            "",
            "0x",
            "0x0",
            "0x00",
            "0xzz",
            "-1",
            "٣",
            "\ud800",
            [],
            {},
            [[]],
            [{}],
            "0x" + "f" * 64,
        ]
    )


# -- EIP-712 -----------------------------------------------------------------------------------------------------

TYPED: dict[str, Any] = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallets", "type": "address[]"}],
        "Mail": [
            {"name": "from", "type": "Person"}, {"name": "to", "type": "Person[2]"}, {"name": "n", "type": "int8"},
            {"name": "b", "type": "bytes"}, {"name": "f", "type": "bytes4"}, {"name": "ok", "type": "bool"},
            {"name": "u", "type": "uint256"},
        ],
    },
    "primaryType": "Mail",
    "domain": {"name": "Mail", "chainId": 1},
    "message": {
        "from": {"name": "A", "wallets": ["0x" + "cd" * 20]}, "to": [{"name": "B", "wallets": []}, {"name": "é", "wallets": []}],
        "n": -5, "b": "0x010203", "f": "0xdeadbeef", "ok": True, "u": "115792089237316195423570985008687907853269984665640564039457584007913129639935",
    },
}  # fmt: skip


def _typed_data(data: bytes) -> str:
    """Against eth-account, wherever it takes the document too: it forgives more, and must come to the same digest."""
    try:
        found = typed_data.parse(data)
    except PayloadError:
        return "PayloadError"
    need(typed_data.parse(found.canonical) == found, "its canonical form means something else")
    try:
        theirs = _hash_eip191_message(encode_typed_data(full_message=json.loads(data)))
    except Exception:  # noqa: BLE001 - whatever it refuses with
        return OK
    need(theirs == found.digest or _differently_read(found), "eth-account signs another digest")
    return OK


def _differently_read(found: typed_data.TypedData) -> bool:
    """Where eth-account departs from EIP-712: hex text for numbers, and a domain whose type is not declared."""
    return b'"0x' in found.canonical or b"null" in found.canonical or b'"-' in found.canonical


# -- Ethereum transactions ---------------------------------------------------------------------------------------


def _eth_bytes(data: bytes) -> str:
    """Against eth-account: what it would sign, signed, has the same hash and sender."""
    try:
        transaction = ethereum.from_bytes(data)
    except PayloadError:
        return "PayloadError"
    need(transaction.unsigned() == data, "not canonical")
    need(
        rlp.encode(rlp.decode(data[1:] if transaction.type else data))
        == (data[1:] if transaction.type else data),
        "rlp",
    )
    signed = transaction.signed(sign(SECRET, transaction.digest()))
    if transaction.type == ethereum.LEGACY or _fits(transaction):
        need(
            Account.recover_transaction(signed) == addresses.ethereum(TestAccount(SECRET).public_key(())),
            "another sender",
        )
    return OK


def _fits(transaction: ethereum.UnsignedTransaction) -> bool:
    """Whether eth-account's own checks let the transaction through; its hash is compared then."""
    fields: dict[str, Any] = {
        "type": transaction.type, "chainId": transaction.chain_id, "nonce": transaction.nonce, "gas": transaction.gas_limit,
        "to": transaction.to or b"", "value": transaction.value, "data": transaction.data,
        "accessList": [{"address": a, "storageKeys": list(keys)} for a, keys in transaction.access_list],
    }  # fmt: skip
    if transaction.type == ethereum.ACCESS_LIST:
        fields["gasPrice"] = transaction.max_fee_per_gas
    else:
        fields["maxFeePerGas"] = transaction.max_fee_per_gas
        fields["maxPriorityFeePerGas"] = transaction.max_priority_fee_per_gas
    try:
        theirs = TypedTransaction.from_dict(fields).hash()
    except Exception:  # noqa: BLE001 - whatever it refuses with
        return False
    need(bytes(theirs) == transaction.digest(), "eth-account signs another digest")
    return True


TX_JSON: list[dict[str, Any]] = [
    {"chainId": 1, "nonce": 1, "gas": 21000, "maxFeePerGas": 5, "maxPriorityFeePerGas": 1, "to": "0x" + "ab" * 20, "value": 7},
    {"chainId": None, "nonce": "0x0", "gas": "0x5208", "gasPrice": 9, "to": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "data": "0x00"},
    {"chainId": 5, "nonce": 0, "gasLimit": 1, "gasPrice": 0, "input": "0x6001", "type": 1, "from": "0x" + "11" * 20,
     "accessList": [{"address": "0x" + "22" * 20, "storageKeys": ["0x" + "33" * 32]}]},
]  # fmt: skip


def _eth_json(data: bytes) -> str:
    try:
        transaction, _sender = ethereum.from_json(data)
    except PayloadError:
        return "PayloadError"
    need(ethereum.from_bytes(transaction.unsigned()) == transaction, "read again, it is another transaction")
    return OK


def _eth_seeds() -> list[bytes]:
    return [ethereum.from_json(json.dumps(tx))[0].unsigned() for tx in TX_JSON]


def rlp_mutated(data: bytes, rng: Random) -> bytes:
    """Another list with one item changed, behind the same type byte."""
    kind = data[:1] if data[:1] < b"\xc0" else b""
    try:
        items = rlp.decode(data[len(kind) :])
        return kind + rlp.encode(_item(items, rng))
    except (rlp.exceptions.RLPException, RecursionError):
        return damaged(data, rng)


def _item(item: Any, rng: Random) -> Any:
    if isinstance(item, (list, tuple)) and item and rng.random() < 0.9:
        at, choice = rng.randrange(len(item)), rng.randrange(8)
        item = list(item)
        if choice == 0:
            return item[:at] + item[at + 1 :]
        if choice == 1:
            return item[:at] + item[at:] * 2
        return [*item[:at], _item(item[at], rng), *item[at + 1 :]]
    if isinstance(item, bytes) and rng.random() < 0.6:
        return damaged(item, rng)
    return rng.choice(
        [
            b"",
            b"\0",
            b"\1",
            b"\xff" * 8,
            b"\xff" * 32,
            b"\0" * 20,
            b"\x11" * 20,
            [],
            [b""],
            [[]],
            [[b"\x22" * 20, []]],
        ]
    )


# -- Bitcoin -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def psbts() -> tuple[bytes, ...]:
    """The vectors of BIP-174 and BIP-370 that are valid, and the smallest of ours."""
    listed = [base64.b64decode(vector["psbt"]) for vector in json.loads(_VECTORS.read_text())["valid"]]
    good = [data for data in listed if _psbt(data) == OK and len(data) < 1500]
    return (*sorted(good, key=len)[:14], ours())


@lru_cache(maxsize=1)
def ours() -> bytes:
    """A payment by the keys of `KEYS`: a P2WPKH and a P2PKH input, with their previous transactions."""
    key, child = KEYS.public_key(()), KEYS.public_key((0, 1))
    parents, inputs = [], []
    for number, script in enumerate((addresses.p2wpkh_script(key), addresses.p2pkh_script(child))):
        parent = EmbitTransaction.parse(_transaction([bytes([number]) * 32], [(50_000 + number, script)]))
        parents.append(parent.serialize())
        inputs.append(parent.txid()[::-1])
    tx = _transaction(inputs, [(70_000, addresses.p2wpkh_script(child))])
    psbt = b"psbt\xff" + _pair(b"\0", tx) + b"\0"
    path = b"\0\0\0\0" + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    psbt += (
        _pair(b"\0", parents[0])
        + _pair(b"\1", (50_000).to_bytes(8, "little") + _counted(addresses.p2wpkh_script(key)))
        + b"\0"
    )
    psbt += _pair(b"\0", parents[1]) + _pair(b"\6" + child, path) + _pair(b"\3", b"\1\0\0\0") + b"\0"
    return psbt + _pair(b"\2" + child, path) + b"\0"


def _counted(data: bytes) -> bytes:
    return compact_size(len(data)) + data


def _pair(key: bytes, value: bytes) -> bytes:
    return _counted(key) + _counted(value)


def _transaction(previous: list[bytes], outputs: list[tuple[int, bytes]]) -> bytes:
    data = b"\2\0\0\0" + bytes([len(previous)])
    data += b"".join(txid + bytes(4) + b"\0" + b"\xfd\xff\xff\xff" for txid in previous) + bytes(
        [len(outputs)]
    )
    return (
        data
        + b"".join(value.to_bytes(8, "little") + _counted(script) for value, script in outputs)
        + bytes(4)
    )


def _psbt(data: bytes) -> str:
    """Against embit, wherever it takes the PSBT too: the unsigned transaction must be the same.

    Embit takes a version or sequence of 0 for one that is missing, and lets output fields override version 0's transaction.
    """
    try:
        found = Psbt.parse(data)
    except PayloadError:
        return "PayloadError"
    need(found.serialise() == data, "not lossless")
    ours = found.transaction
    try:
        theirs = PSBT.read_from(io.BytesIO(data))
        tx = theirs.tx if found.version == 2 else EmbitTransaction.parse(found.globals[b"\0"])
        txid = tx.txid()[::-1]
    except Exception:  # noqa: BLE001 - whatever it refuses with
        return OK
    if found.version == 0 or (
        tx.locktime == ours.locktime and ours.version and all(i.sequence for i in ours.inputs)
    ):
        need(txid == ours.txid(), "embit signs another transaction")
    return OK


def _psbt_signed(data: bytes) -> str:
    """Decode for an account, sign, and put the signatures in: only PayloadErrors, and only the account's inputs."""
    try:
        decoded = bitcoin.decode(data, KEYS)
    except PayloadError:
        return "PayloadError"
    signatures = KEYS.account.sign_all(decoded)
    try:
        finished = bitcoin.finish(data, decoded, signatures)
    except PayloadError:
        return "unfinished"
    need(finished.psbt is not None, "a PSBT comes back")
    Psbt.parse(finished.psbt or b"")
    return OK


@lru_cache(maxsize=1)
def _segwit_transaction() -> bytes:
    tx = Transaction.parse(_transaction([b"\1" * 32], [(5, b"\x51")]), "a transaction", segwit=False)
    from dataclasses import replace

    return replace(tx, inputs=(replace(tx.inputs[0], witness=(b"sig", b"")),)).serialise()


def _bitcoin_transaction(data: bytes) -> str:
    """The first byte chooses whether witnesses are read. Against embit."""
    segwit, data = bool(data[:1] > b"\x7f"), data[1:]
    try:
        found = Transaction.parse(data, "the transaction", segwit=segwit)
    except PayloadError:
        return "PayloadError"
    need(found.serialise() == data, "not canonical")
    try:
        stream = io.BytesIO(data)
        theirs = EmbitTransaction.read_from(stream)
    except Exception:  # noqa: BLE001 - whatever it refuses with
        return OK
    if stream.read() == b"" and found.inputs:
        need(theirs.txid()[::-1] == found.txid(), "embit has another txid")
    return OK


def _compact(data: bytes) -> str:
    cursor = Cursor(data, "the number")
    try:
        number = cursor.compact()
        cursor.finish()
    except PayloadError:
        return "PayloadError"
    need(compact_size(number) == data, "not the shortest form")
    return OK


# -- payloads as they travel -------------------------------------------------------------------------------------


def _payload_seeds() -> Iterator[bytes]:
    some = [
        payloads.Digest(b"d" * 32), payloads.Message(b"hello", "eip191"), EthereumTx(_eth_seeds()[0], b"\x11" * 20),
        TypedData.parse(json.dumps(TYPED)), PsbtTx(ours()),
    ]  # fmt: skip
    yield from (encode(payloads.to_value(payload)) for payload in some)


def _payload(data: bytes) -> str:
    try:
        payload = payloads.from_value(decode_value(data, payloads.SCHEMA))
    except (PeerFault, PayloadError) as error:
        return type(error).__name__
    need(encode(payloads.to_value(payload)) == data, "a payload of another spelling")
    try:
        decoded = payloads.decode(payload, KEYS)
    except PayloadError:
        return "undecodable"
    need(all(len(due.digest) == 32 for due in decoded.digests), "a digest of another length")
    return OK


PARSERS: list[Any] = [EthereumTx.parse, PsbtTx.parse, TypedData.parse]


def _parsed(data: bytes) -> str:
    """What callers hand over: as text or bytes, by the first byte."""
    choice, data = (data[0] if data else 0), data[1:]
    source: Any = data if choice & 1 else text_of(data)
    try:
        PARSERS[choice // 2 % len(PARSERS)](source)
    except PayloadError:
        return "PayloadError"
    return OK


def _parse_seeds() -> Iterator[bytes]:
    for text in (0, 1):
        yield bytes([text]) + json.dumps(TX_JSON[0]).encode()
        yield bytes([text]) + b"0x" + _eth_seeds()[1].hex().encode()
        yield bytes([2 + text]) + base64.b64encode(ours())
        yield bytes([2 + text]) + ours().hex().encode()
        yield bytes([4 + text]) + json.dumps(TYPED).encode()


def behind_a_byte(data: bytes, rng: Random) -> bytes:
    return data[:1] + json_mutated(data[1:], rng)


def _base58(data: bytes) -> str:
    try:
        payload = addresses.base58check_decode(text_of(data))
    except ValueError:
        return "ValueError"
    need(addresses.base58check(payload).encode() == data, "another spelling")
    return OK


def _address_of_script(data: bytes) -> str:
    """Against embit, which reads the address again."""
    text = addresses.address_of_script(data)
    if text is None:
        return "None"
    if text.startswith("bc1"):
        version, program = bech32.decode("bc", text)
        script = bytes([0x50 + version if version else 0, len(program), *program])
    else:
        payload = base58.decode_check(text)
        script = (
            addresses.p2sh_script(b"")[:2] + payload[1:] + b"\x87"
            if payload[0]
            else b"\x76\xa9\x14" + payload[1:] + b"\x88\xac"
        )
    need(script == data, f"embit reads {text!r} as another script")
    return OK


TARGETS = [
    Target("json", _json, lambda: [json.dumps(v).encode() for v in (*TX_JSON, TYPED, [1, "é", None])], JSON_WORDS, json_mutated, share=1.6),
    Target("typed-data", _typed_data, lambda: [json.dumps(TYPED).encode()], JSON_WORDS, json_mutated, share=0.25),
    Target("ethereum-bytes", _eth_bytes, _eth_seeds, mutate=rlp_mutated, share=0.8),
    Target("ethereum-json", _eth_json, lambda: [json.dumps(tx).encode() for tx in TX_JSON], JSON_WORDS, json_mutated, share=0.8),
    Target("psbt", _psbt, psbts, words=(b"psbt\xff",), share=0.8),
    Target("psbt-signed", _psbt_signed, lambda: [ours()], words=(b"psbt\xff",), share=0.4),
    Target(
        "bitcoin-transaction", _bitcoin_transaction,
        lambda: [b"\0" + _transaction([b"\1" * 32], [(5, b"\x51")]), b"\xff" + _segwit_transaction()], share=0.8,
    ),
    Target("compact-size", _compact, lambda: [compact_size(n) for n in (0, 252, 253, 1 << 16, 1 << 32)], max_len=12, share=10),
    Target("payload", _payload, _payload_seeds, mutate=mutated, share=0.4),
    Target("payload-source", _parsed, _parse_seeds, JSON_WORDS, behind_a_byte, share=0.4),
    Target("base58check", _base58, lambda: [addresses.base58check(b"\0" * 21).encode(), addresses.base58check(SECRET).encode()], max_len=200, share=6),
    Target("address-of-script", _address_of_script, lambda: [addresses.p2wpkh_script(b"\2" * 33), addresses.p2sh_script(b"")], max_len=80, share=6),
]  # fmt: skip

__all__ = ["TARGETS", "Violation", "judged", "writes_back"]

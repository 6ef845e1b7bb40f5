from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from payload_samples import PAYLOADS, TRANSACTION, TYPED
from payload_testing import TestAccount

from participant.payloads import (
    Digest,
    EthereumTx,
    Payload,
    PayloadError,
    PsbtTx,
    TypedData,
    decode,
    from_value,
    to_value,
)
from participant.payloads.psbt import MAGIC

ACCOUNT = TestAccount(b"\5" * 32)


def only_payload_errors(make: Any, *arguments: Any) -> None:
    with contextlib.suppress(PayloadError):
        decode(make(*arguments), ACCOUNT)


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**260), 2**260)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["0x", "0x0", "0x" + "11" * 20, "T", "uint8[]", "bytes32", "1"])
)
names = st.sampled_from(
    [*TRANSACTION, *TYPED, "data", "accessList", "from", "type", "maxFeePerGas", "T", "x", "name"]
)
values = st.recursive(
    leaves,
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(names | st.text(max_size=5), below, max_size=5)
    ),
)


@pytest.mark.attack("E7")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(values)
def test_any_json_raises_payload_errors_only(value: Any) -> None:
    text = json.dumps(value)
    for make in (EthereumTx.parse, TypedData.parse, PsbtTx.parse):
        only_payload_errors(make, text)
        only_payload_errors(make, text.encode())
    if isinstance(value, dict):
        only_payload_errors(EthereumTx.parse, value)
        only_payload_errors(TypedData.parse, value)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from([TRANSACTION, TYPED]), st.data())
def test_a_good_object_with_a_part_replaced(good: dict[str, Any], data: st.DataObject) -> None:
    changed = json.loads(json.dumps(good))
    place: Any = changed
    while True:
        key = data.draw(
            st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1)
        )
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(values)
    make = EthereumTx.parse if good is TRANSACTION else TypedData.parse
    only_payload_errors(make, changed)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\1", b"\2", b"\xf8", b"\xc0", MAGIC, MAGIC + b"\1\0"])
)
def test_any_bytes_raise_payload_errors_only(data: bytes, prefix: bytes) -> None:
    for make in (Digest, EthereumTx, TypedData, PsbtTx, EthereumTx.parse, TypedData.parse, PsbtTx.parse):
        only_payload_errors(make, prefix + data)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.sampled_from(PAYLOADS[3:]),
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), max_size=4),
)
def test_good_bytes_with_some_replaced(payload: Payload, edits: list[tuple[int, bytes]]) -> None:
    kind, body, extra = to_value(payload)
    for place, new in edits:
        at = place % (len(body) + 1)
        body = body[:at] + new + body[at + (place // 7) % 3 :]
    only_payload_errors(from_value, [kind, body, extra])

"""Key generation on secp256k1 with points that are none (security.md C1): refused by all, blamed on their sender."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from cggmp24_cheating import Cheat, assert_caught, changed, durable
from cggmp24_testing import run_keygen
from session_testing import Raw, Tamper, says
from tss_testing import SMALL_SECP

from tss.errors import BadPoint, SchemaViolation
from tss.groups import SECP256K1

CHEATER, ALL = 2, (1, 3)
FIELD = 2**256 - 2**32 - 977
X = SECP256K1.G.to_bytes()[1:]
Y = bytes.fromhex("483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")


def raw(data: bytes) -> Raw:
    return Raw(bytes([SECP256K1.point_tag]) + len(data).to_bytes(4, "big") + data)


POINTS = {
    "x = p + 1": (b"\x02" + (FIELD + 1).to_bytes(32, "big"), BadPoint),
    "x without a root": (b"\x02" + bytes(31) + b"\x05", BadPoint),
    "x of the twist": (b"\x03" + bytes(31) + b"\x05", BadPoint),
    "prefix 00": (b"\x00" + X, BadPoint),
    "prefix 04 with x alone": (b"\x04" + X, BadPoint),
    "65 bytes": (b"\x04" + X + Y, SchemaViolation),
    "no bytes": (b"", BadPoint),
}
"""More bytes than a point has are refused by their length, before anybody looks at them."""


def as_coefficient(point: Raw) -> Tamper:
    return says(2, lambda value: changed(value, 1, lambda S: [point, *S[1:]]))


def as_nonce(point: Raw) -> Tamper:
    return says(2, lambda value: changed(value, 2, point))


def as_proof(point: Raw) -> Tamper:
    return says(3, lambda value: changed(value, 0, point))


@pytest.mark.attack("C1")
@pytest.mark.parametrize("place", [as_coefficient, as_nonce, as_proof], ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", POINTS)
def test_points_that_are_none(name: str, place: Any) -> None:
    data, error = POINTS[name]
    round_ = 3 if place is as_proof else 2
    cheat = Cheat(f"{name} {place.__name__}", error, f"keygen.r{round_}.schema", ALL, (place(raw(data)),))
    outcomes = assert_caught(cheat, CHEATER, partial(run_keygen, 3, 2, suite=SMALL_SECP))
    assert not any(durable(node) for node in outcomes.honest)

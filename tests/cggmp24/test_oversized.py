"""A megabyte in the place of each integer of each message (security.md B9): refused by its header, blamed on its sender."""

from __future__ import annotations

import pytest
from oversized import HUGE, RUNS, Field, attempt, fields
from session_testing import Raw
from zk_naive import framed

from tss.errors import SchemaViolation

FIELDS = {
    "keygen": 2,
    "aux": 21,
    "refresh": 23,
    "presign": 49,
    "full-sign": 1,
    "sign by two": 2,
    "sign by three": 1,
    "failed nonce": 15,
}


@pytest.mark.parametrize("protocol", RUNS)
def test_the_fields_are_all_found(protocol: str) -> None:
    assert len(fields(protocol)) == FIELDS[protocol], [str(field) for field in fields(protocol)]


@pytest.mark.attack("B9")
@pytest.mark.parametrize("protocol", RUNS)
def test_every_integer_of_every_message(protocol: str) -> None:
    for field in fields(protocol):
        blamed_for_its_schema(field, HUGE)


@pytest.mark.attack("E8")
@pytest.mark.parametrize("protocol", ["keygen", "sign by two"])
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x03\xff\xff\xff\xff\x00", id="a length of 4 GB"),
        pytest.param(b"\x03\x80\x00\x00\x00", id="a length that is negative in 32 bits"),
        pytest.param(framed(3, b"\x01" + bytes(3)), id="a negative number of zeros"),
    ],
)
def test_lengths_and_signs_that_lie(protocol: str, raw: bytes) -> None:
    for field in fields(protocol):
        blamed_for_its_schema(field, Raw(raw))


def blamed_for_its_schema(field: Field, new: object) -> None:
    outcomes, _ = attempt(field, new)
    accusers = [node for node in outcomes.honest if node.blamed == field.sender]
    assert accusers, str(field)
    for node in accusers:
        assert type(node.error) is SchemaViolation, str(field)
        kind = node.session.setup.kind
        assert node.error.check == f"{kind}.r{field.round}.schema", str(field)

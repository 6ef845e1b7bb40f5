"""Single values of the ecosystem's JSON, at the ends of what they may be, and how they are shown in errors."""

from __future__ import annotations

from typing import Any

import pytest

from participant.payloads.addresses import ethereum_checksum
from participant.payloads.errors import PayloadError
from participant.payloads.fields import byte_string, ethereum_address, quantity, shown

LIMIT = 1 << 16


def refused(made: Any, *arguments: Any) -> PayloadError:
    with pytest.raises(PayloadError) as raised:
        made(*arguments)
    error = raised.value
    assert error.what.startswith(str(arguments[1])), "what is wrong comes first, then what to do"
    assert str(error) == (f"{error.what}; {error.remedy}" if error.remedy else error.what)
    return error


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (LIMIT - 1, LIMIT - 1), ("0x0", 0), ("0xfFfF", LIMIT - 1), ("0x" + "0" * 64, 0)]
)  # fmt: skip
def test_a_quantity(value: Any, expected: int) -> None:
    assert quantity(value, "gas", LIMIT) == expected


@pytest.mark.parametrize("value", [-1, LIMIT, "0x10000"])
def test_a_quantity_out_of_range(value: Any) -> None:
    error = refused(quantity, value, "gas", LIMIT)
    assert "out of range" in error.what
    assert str(LIMIT - 1) in error.remedy


@pytest.mark.parametrize(
    "value", [True, None, 1.0, "", "0x", "5", "0X5", "0x" + "0" * 65, "0x5\n", "0x٣", b"0x5", []]
)
def test_what_is_no_quantity(value: Any) -> None:
    assert "not a number" in refused(quantity, value, "gas", LIMIT).what


def test_a_byte_string() -> None:
    assert byte_string("0x", "data") == b""
    assert byte_string("0xaBcD", "data") == byte_string("0xabcd", "data", 2) == b"\xab\xcd"
    for value in (None, 5, "", "ab", "0xa", "0xabc", "0xgg", "0Xab", "0xab ", b"0xab"):
        assert "not bytes" in refused(byte_string, value, "data").what
    for value in ("0xab", "0xababab"):
        error = refused(byte_string, value, "data", 2)
        assert f"{len(value) // 2 - 1} bytes, 2 are due" in error.what
    assert "0 bytes" in refused(byte_string, "0x", "data", 1).what
    assert byte_string("0x", "data", 0) == b""


def test_an_address_of_one_case_or_with_its_checksum() -> None:
    data = bytes(range(0xA0, 0xB4))
    right = ethereum_checksum(data)
    for value in (right, "0x" + data.hex(), "0x" + data.hex().upper()):
        assert ethereum_address(value, "to") == data
    swapped = "0x" + right[2:].swapcase()
    error = refused(ethereum_address, swapped, "to")
    assert swapped in error.what
    assert "checksum" in error.what
    assert error.remedy
    one_letter = "0xA" + data.hex()[1:]
    assert "checksum" in refused(ethereum_address, one_letter, "to").what
    for value in ("0x" + "11" * 19, "0x" + "11" * 21):
        assert "20 are due" in refused(ethereum_address, value, "to").what


def test_what_is_shown_of_a_value_has_a_bound() -> None:
    for value in (None, True, 5, "text"):
        assert shown(value) == repr(value)
    for value, name in (([1], "list"), ({"a": 1}, "dict"), (b"x", "bytes"), (1.5, "float")):
        assert shown(value) == name
    assert shown("x" * 78) == repr("x" * 78)
    assert shown("x" * 79) == "'" + "x" * 76 + "..."
    assert len(shown("x" * 79)) == len(shown(10**4000)) == 80

"""How single values are written in the ecosystem's JSON: quantities, byte strings, Ethereum addresses."""

from __future__ import annotations

import re
from typing import Any, Final

from participant.payloads.addresses import ethereum_checksum
from participant.payloads.errors import PayloadError

_HEX: Final = re.compile(r"0x[0-9a-fA-F]*", re.ASCII)
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)


def quantity(value: Any, name: str, limit: int) -> int:
    """An integer or 0x-hex with 0 <= it < `limit`."""
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        number = int(value, 16)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise PayloadError(
            f"{name} is {shown(value)}, not a number", 'write an integer or 0x-hex such as "0x5208"'
        )
    if not 0 <= number < limit:
        raise PayloadError(f"{name} is {shown(value)}, out of range", f"it must be from 0 to {limit - 1}")
    return number


def byte_string(value: Any, name: str, size: int | None = None) -> bytes:
    """0x-hex of whole bytes; of exactly `size` bytes where that is given."""
    if not isinstance(value, str) or not _HEX.fullmatch(value) or len(value) % 2:
        raise PayloadError(f"{name} is {shown(value)}, not bytes", "write 0x and two hex digits a byte")
    data = bytes.fromhex(value[2:])
    if size is not None and len(data) != size:
        raise PayloadError(f"{name} has {len(data)} bytes, {size} are due")
    return data


def ethereum_address(value: Any, name: str) -> bytes:
    """20 bytes of 0x-hex. Mixed case must carry the right EIP-55 checksum: a typing error is caught, not signed."""
    data = byte_string(value, name, 20)
    digits = value[2:]
    if digits not in {digits.lower(), digits.upper()} and value != ethereum_checksum(data):
        raise PayloadError(
            f"{name} is {value}, whose EIP-55 checksum is wrong",
            "compare the address with its source letter by letter",
        )
    return data


def shown(value: Any) -> str:
    """`value` cut to a length that fits an error text."""
    text = repr(value) if isinstance(value, str | int | bool | None) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."

"""JSON that reads one way only: no duplicate keys, no floats, bounded numbers, depth and size.

Two parsers that disagree on one text would let a policy see another transaction than the signer signs.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from participant.payloads.errors import PayloadError

MAX_DEPTH: Final = 16
MAX_INTEGER_DIGITS: Final = 80
"""A sign and the 78 decimal digits of 2^256 fit; nothing that is signed has a larger number."""

_BRACKETS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
"""A whole text (whose brackets do not nest), or one bracket. A text without an end takes the rest, so that the time is
linear in the length."""


def loads(text: str | bytes, what: str, maximum: int) -> Any:
    """Parse `text` of at most `maximum` bytes. `what` names it in errors. Raises PayloadError."""
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError as error:
            raise PayloadError(f"{what} is not Unicode text") from error
    if len(text) > maximum:
        raise PayloadError(f"{what} has {len(text)} bytes, at most {maximum} are taken")

    try:
        content = text.decode()
    except UnicodeDecodeError:
        raise PayloadError(f"{what} is not UTF-8 text") from None
    _check_nesting(content, what)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen:
                    text = f"{what}: key {key[:80]!r} stands twice in one object"
                    raise PayloadError(text, "remove one of them")
                seen.add(key)
        return found

    def integer(digits: str) -> int:
        if len(digits) > MAX_INTEGER_DIGITS:
            raise PayloadError(f"{what}: a number of {len(digits)} digits")
        return int(digits)

    def refuse(number: str) -> NoReturn:
        raise PayloadError(f"{what}: {number[:40]} is not an integer", "write whole numbers or 0x-hex")

    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=pairs,
            parse_int=integer,
            parse_float=refuse,
            parse_constant=refuse,
        )
    except json.JSONDecodeError as error:
        raise PayloadError(
            f"{what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    check(value, what)
    return value


def _check_nesting(content: str, what: str) -> None:
    """Before the parser sees it: its recursion ends at a limit that any library in the process may have raised."""
    depth = 0
    for match in _BRACKETS.finditer(content):
        token = match[0]
        depth += (token in {"[", "{"}) - (token in {"]", "}"})
        if depth > MAX_DEPTH:
            raise PayloadError(f"{what} is nested deeper than {MAX_DEPTH} levels")


def check(value: Any, what: str) -> None:
    """Refuse whatever `loads` would not have returned (a value that a caller built in Python). Raises PayloadError."""
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise PayloadError(f"{what} is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, dict):
            for key, below in item.items():
                stack += [(key if isinstance(key, str) else object(), depth), (below, depth + 1)]
        elif isinstance(item, list):
            stack += [(below, depth + 1) for below in item]
        elif isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError:
                raise PayloadError(f"{what}: a text with half a surrogate pair") from None
        elif isinstance(item, int):
            if abs(item) >> 256:
                raise PayloadError(f"{what}: a number of more than 256 bits")
        elif item is not None:
            raise PayloadError(f"{what}: {type(item).__name__} has no place in JSON of this kind")


def canonical(value: Any) -> bytes:
    """The one spelling of a checked value: keys sorted, no white space, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()

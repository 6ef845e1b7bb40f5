"""JSON that reads one way only, at each of its bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from participant.payloads.errors import PayloadError
from participant.payloads.strict_json import MAX_DEPTH, MAX_INTEGER_DIGITS, canonical, check, loads


def refused(text: str | bytes, said: str, maximum: int = 10**6) -> PayloadError:
    with pytest.raises(PayloadError) as raised:
        loads(text, "the thing", maximum)
    assert raised.value.what.startswith("the thing")
    assert said in raised.value.what
    return raised.value


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, -1, 2**256 - 1, 1 - 2**256, "", "é\U0001f600", [], {}, {"a": [1, {"b": "c"}]}],
)
def test_a_value(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert loads(text, "the thing", len(text.encode())) == loads(text.encode(), "the thing", 10**6) == value
    check(value, "the thing")


def test_size_is_in_bytes() -> None:
    text = '"é"'
    assert loads(text, "the thing", 4) == "é"
    refused(text, "4 bytes, at most 3 are taken", 3)


def test_what_is_no_text() -> None:
    refused('"\ud800"', "not Unicode text")
    refused(b'"\xff"', "not UTF-8 text")
    refused('"\\ud800"', "half a surrogate pair")
    refused('{"\\ud800": 1}', "half a surrogate pair")


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", "1 2", "{'a': 1}", "01", "+1", '"\n"', "tru", "\ufeff1", '{"a" 1}', "//x\n1"]
)
def test_what_is_no_json(text: str) -> None:
    refused(text, "is not JSON")


@pytest.mark.parametrize(
    "number", ["1.5", "1.0", "1e5", "1E5", "-0.0", "NaN", "Infinity", "-Infinity", "1" + "0" * 50 + ".5"]
)
def test_no_number_is_anything_but_an_integer(number: str) -> None:
    for text in (number, f"[{number}]", f'{{"a": {number}}}'):
        error = refused(text, f"{number[:40]} is not an integer")
        assert error.remedy


def test_numbers_have_bounds() -> None:
    refused("9" * (MAX_INTEGER_DIGITS + 1), "a number of 81 digits")
    refused("9" * MAX_INTEGER_DIGITS, "more than 256 bits")
    for beyond in (2**256, -(2**256)):
        refused(str(beyond), "more than 256 bits")
        with pytest.raises(PayloadError, match="more than 256 bits"):
            check([{"a": beyond}], "the thing")


def test_a_key_that_stands_twice() -> None:
    error = refused('{"a": 1, "b": {"same": 1, "c": 2, "same": 1}}', "key 'same' stands twice in one object")
    assert error.remedy
    refused('{"a": 1, "\\u0061": 1}', "key 'a' stands twice")
    assert loads('{"a": {"a": 1}, "b": {"a": 1}}', "the thing", 100) == {"a": {"a": 1}, "b": {"a": 1}}
    assert f"key {'k' * 80!r} stands" in refused('{"K": 1, "K": 2}'.replace("K", "k" * 99), "twice").what


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth(opening: str, closing: str) -> None:
    def nested(depth: int) -> str:
        return opening * depth + "1" + closing * depth

    deepest = loads(nested(MAX_DEPTH - 1), "the thing", 1000)
    check(deepest, "the thing")
    for depth in (MAX_DEPTH, MAX_DEPTH + 1, 20_000):
        refused(nested(depth), f"nested deeper than {MAX_DEPTH} levels")
    with pytest.raises(PayloadError, match="nested deeper"):
        check([deepest], "the thing")


def test_what_holds_nothing_may_be_one_deeper() -> None:
    assert loads("[" * 16 + "]" * 16, "the thing", 100)
    refused("[" * 17 + "]" * 17, "nested deeper than 16 levels")


def test_brackets_side_by_side_and_in_texts_do_not_nest() -> None:
    many = [[], {}] * 99
    assert loads(json.dumps(many), "the thing", 10**4) == many
    text = "[{" * 99 + '"\\' + "}]"
    assert loads(json.dumps({text: text}), "the thing", 10**4) == {text: text}
    refused('"' + "[" * 99, "is not JSON")


def test_what_python_has_and_json_has_not() -> None:
    for value in (1.5, b"x", (1,), {1: 2}, {None: 1}, {"a": {"b": object()}}, [float("nan")], {"a", "b"}):
        with pytest.raises(PayloadError, match=r"^the thing: .* has no place in JSON of this kind"):
            check(value, "the thing")
    with pytest.raises(PayloadError, match="half a surrogate pair"):
        check(["\ud800"], "the thing")


def test_one_spelling() -> None:
    assert canonical({"b": [1, None, True], "a": "é\n"}) == '{"a":"é\\n","b":[1,null,true]}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))

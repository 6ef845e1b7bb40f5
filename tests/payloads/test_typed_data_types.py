"""Every type of EIP-712 by the words of the EIP, without another library; and what is just taken, or just not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from participant.payloads import PayloadError, TypedDataSummary
from participant.payloads.addresses import keccak256
from participant.payloads.typed_data import parse

ADDRESS = "0x" + "11" * 20
DOMAIN: dict[str, tuple[str, Any]] = {
    "name": ("string", "Ether Mail"),
    "version": ("string", "1"),
    "chainId": ("uint256", 5),
    "verifyingContract": ("address", ADDRESS),
    "salt": ("bytes32", "0x" + "ab" * 32),
}
MAX_JSON = 262_144
EMPTY = keccak256(keccak256(b"EIP712Domain()"))


def word(number: int) -> bytes:
    return (number % 2**256).to_bytes(32, "big")


def document(types: dict[str, Any], message: Any, domain: Any = None, primary: Any = "T") -> dict[str, Any]:
    return {
        "types": types,
        "primaryType": primary,
        "domain": {} if domain is None else domain,
        "message": message,
    }


def struct(**members: str) -> list[dict[str, str]]:
    return [{"name": label, "type": kind} for label, kind in members.items()]


def single(kind: Any, value: Any, **types: Any) -> dict[str, Any]:
    return document({"T": [{"name": "x", "type": kind}], **types}, {"x": value})


def refused(source: Any, says: str) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        parse(source)
    assert caught.value.what == says
    return caught.value


@pytest.mark.parametrize(
    ("kind", "value", "encoded"),
    [
        ("bool", True, word(1)),
        ("bool", False, word(0)),
        ("uint8", 0, word(0)),
        ("uint8", 255, word(255)),
        ("uint8", "0xfF", word(255)),
        ("uint8", "255", word(255)),
        ("uint24", 0xFFFFFF, word(0xFFFFFF)),
        ("int8", -128, word(-128)),
        ("int8", "-1", word(-1)),
        ("int8", 127, word(127)),
        ("int256", -(2**255), word(2**255)),
        ("int256", 2**255 - 1, word(2**255 - 1)),
        ("uint256", 2**256 - 1, word(2**256 - 1)),
        ("uint256", str(2**256 - 1), word(2**256 - 1)),
        ("uint256", hex(2**256 - 1), word(2**256 - 1)),
        ("bytes1", "0xab", b"\xab" + bytes(31)),
        ("bytes3", "0x010203", b"\1\2\3" + bytes(29)),
        ("bytes31", "0x" + "cd" * 31, b"\xcd" * 31 + b"\0"),
        ("bytes32", "0x" + "cd" * 32, b"\xcd" * 32),
        ("address", ADDRESS, bytes(12) + b"\x11" * 20),
        ("string", "h\u00e9", keccak256("h\u00e9".encode())),
        ("string", "", keccak256(b"")),
        ("bytes", "0x0102", keccak256(b"\1\2")),
        ("uint8[]", [1, 2], keccak256(word(1) + word(2))),
        ("uint8[]", [], keccak256(b"")),
        ("uint8[0]", [], keccak256(b"")),
        ("uint8[2]", [1, 2], keccak256(word(1) + word(2))),
        (
            "uint8[2][]",
            [[1, 2], [3, 4]],
            keccak256(keccak256(word(1) + word(2)) + keccak256(word(3) + word(4))),
        ),
        ("uint8[][2]", [[1], []], keccak256(keccak256(word(1)) + keccak256(b""))),
    ],
)
def test_a_member_as_it_is_encoded(kind: str, value: Any, encoded: bytes) -> None:
    inner = keccak256(keccak256(f"T({kind} x)".encode()) + encoded)
    assert parse(single(kind, value)).digest == keccak256(b"\x19\x01" + EMPTY + inner)


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("uint8", 256, "message.x is 256, out of range for uint8"),
        ("uint8", -1, "message.x is -1, out of range for uint8"),
        ("uint24", 2**24, "message.x is 16777216, out of range for uint24"),
        ("int8", 128, "message.x is 128, out of range for int8"),
        ("int8", -129, "message.x is -129, out of range for int8"),
        ("uint8", True, "message.x is True, not a number"),
        ("uint8", None, "message.x is None, not a number"),
        ("uint8", [], "message.x is list, not a number"),
        ("uint8", "01", "message.x is '01', not a number"),
        ("uint8", "+1", "message.x is '+1', not a number"),
        ("uint8", "0x", "message.x is '0x', not a number"),
        ("uint256", "0x" + "0" * 65, "message.x is '0x" + "0" * 65 + "', not a number"),
        ("bool", 1, "message.x is 1, not true or false"),
        ("string", 1, "message.x is 1, not a text"),
        ("string", None, "message.x is None, not a text"),
        ("bytes", "0x1", "message.x is '0x1', not bytes"),
        ("bytes1", "0x0102", "message.x has 2 bytes, 1 are due"),
        ("bytes32", "0x" + "00" * 31, "message.x has 31 bytes, 32 are due"),
        ("address", "0x" + "11" * 19, "message.x has 19 bytes, 20 are due"),
        ("uint8[]", {}, "message.x is dict, not a list"),
        ("uint8[]", [1, 256], "message.x[1] is 256, out of range for uint8"),
        ("uint8[2]", [1, 2, 3], "message.x has 3 items, uint8[2] has 2"),
        ("uint8[2]", [1], "message.x has 1 items, uint8[2] has 2"),
        ("uint8[0]", [1], "message.x has 1 items, uint8[0] has 0"),
        ("T", 5, "message.x is 5, not an object of type T"),
        ("T", [], "message.x is list, not an object of type T"),
    ],
)
def test_a_value_that_is_not_of_its_type(kind: str, value: Any, says: str) -> None:
    refused(single(kind, value), says)


@pytest.mark.parametrize(
    "kind",
    [
        "uint0", "uint4", "uint12", "uint257", "uint264", "uint999", "int0", "int7", "int264", "uint", "int",
        "uint08", "uint1000", "bytes0", "bytes33", "bytes99", "bytes032", "Missing", "uint8[", "uint8]", "[]", "",
        "uint8[-1]", "uint8 ", "bool2", "T[x]",
    ],
)  # fmt: skip
def test_an_unknown_type(kind: str) -> None:
    refused(single(kind, None), f"types.T.x: unknown type {kind!r}")
    if kind != "[]":
        refused(single(kind + "[][2]", None), f"types.T.x: unknown type {kind + '[][2]'!r}")


def test_references_follow_in_the_order_of_their_names() -> None:
    types = {
        "T": struct(z="Z", b="B[2][]", a="A"),
        "A": struct(d="D[]"),
        "B": struct(d="D", t="T[]"),
        "D": struct(x="uint8"),
        "Z": struct(c="C"),
        "C": struct(a="A"),
        "Unused": struct(x="uint8"),
    }
    spelled = {
        "T": "T(Z z,B[2][] b,A a)",
        "A": "A(D[] d)",
        "B": "B(D d,T[] t)",
        "D": "D(uint8 x)",
        "Z": "Z(C c)",
        "C": "C(A a)",
    }

    def kind(name: str, below: str) -> bytes:
        return keccak256((spelled[name] + "".join(spelled[each] for each in below)).encode())

    leaf = keccak256(kind("D", "") + word(7))
    a = keccak256(kind("A", "D") + keccak256(leaf))
    c = keccak256(kind("C", "AD") + a)
    z = keccak256(kind("Z", "ACD") + c)
    b = keccak256(kind("B", "ACDTZ") + leaf + keccak256(b""))
    t = keccak256(kind("T", "ABCDZ") + z + keccak256(keccak256(b + bytes(32))) + a)
    one = {"d": [{"x": 7}]}
    message = {"z": {"c": {"a": one}}, "b": [[{"d": {"x": 7}, "t": []}, None]], "a": one}
    assert parse(document(types, message)).digest == keccak256(b"\x19\x01" + EMPTY + t)


@pytest.mark.parametrize("names", [[name] for name in DOMAIN] + [list(DOMAIN), ["salt", "name"], []])
def test_a_domain_that_is_not_declared_has_the_members_it_has(names: list[str]) -> None:
    domain = {name: DOMAIN[name][1] for name in reversed(names)}
    ordered = [name for name in DOMAIN if name in names]
    derived = parse(document({"T": []}, {}, domain))
    declared = {"T": [], "EIP712Domain": struct(**{name: DOMAIN[name][0] for name in ordered})}
    assert parse(document(declared, {}, domain)).digest == derived.digest
    spelled = ",".join(f"{DOMAIN[name][0]} {name}" for name in ordered)
    words = {
        "name": keccak256(b"Ether Mail"),
        "version": keccak256(b"1"),
        "chainId": word(5),
        "verifyingContract": bytes(12) + b"\x11" * 20,
        "salt": b"\xab" * 32,
    }
    content = keccak256(f"EIP712Domain({spelled})".encode()) + b"".join(words[name] for name in ordered)
    assert derived.domain_separator == keccak256(content)
    assert derived.summary == TypedDataSummary(
        primary_type="T",
        domain=domain,
        message={},
        chain_id=domain.get("chainId"),
        verifying_contract=domain.get("verifyingContract"),
    )


def test_a_chain_in_three_spellings() -> None:
    for spelling in 5, "5", "0x05":
        assert parse(document({"T": []}, {}, {"chainId": spelling})).summary.chain_id == 5
    refused(document({"T": []}, {}, {"chainId": None}), "domain.chainId is None, not a number")


@pytest.mark.parametrize(
    ("member", "kind"),
    [("owner", "address"), ("chainId", "uint64"), ("name", "bytes"), ("salt", "bytes31"), ("Name", "string")],
)
def test_what_is_no_member_of_a_domain(member: str, kind: str) -> None:
    error = refused(
        document({"T": [], "EIP712Domain": struct(**{member: kind})}, {}, {member: None}),
        f"types.EIP712Domain: {member} of type {kind} is no member of a domain",
    )
    assert error.remedy == (
        "EIP-712 knows string name, string version, uint256 chainId, address verifyingContract, bytes32 salt"
    )


@pytest.mark.parametrize("name", ["_", "$", "a1", "Address", "uint8a", "Bytes", "S" * 256])
def test_a_name(name: str) -> None:
    types = {"T": [{"name": name, "type": name}], name: []}
    inner = keccak256(
        keccak256(f"T({name} {name}){name}()".encode()) + keccak256(keccak256(f"{name}()".encode()))
    )
    assert parse(document(types, {name: {}})).digest == keccak256(b"\x19\x01" + EMPTY + inner)


@pytest.mark.parametrize(
    "name",
    [
        "", "1a", "a-b", "a b", "\u00e9", "A\n", "uint", "int", "uint256", "int8", "uint9", "fixed", "ufixed128x18",
        "byte", "bytes", "bytes32", "bool", "address", "string", "function",
    ],
)  # fmt: skip
def test_what_is_no_name_for_a_type(name: str) -> None:
    refused(document({"T": [], name: []}, {}), f"types: {name!r} is no name for a type")


@pytest.mark.parametrize("label", ["", "1a", "a-b", "x,uint8 y", "\u00e9", "x\n", 1, None])
def test_what_is_no_name_for_a_member(label: Any) -> None:
    shown = repr(label)
    refused(
        document({"T": [{"name": label, "type": "uint8"}]}, {}), f"types.T: {shown} is no name for a member"
    )


def test_what_is_no_type() -> None:
    for kind in (1, None, True):
        refused(single(kind, 1), f"types.T.x: {kind} is no type")
    refused(single(["uint8"], 1), "types.T.x: list is no type")
    longest = "S" * 254 + "[]"
    assert parse(single(longest, [], **{longest[:-2]: []}))
    refused(single("S" + longest, [], S=[]), f"types.T.x: {repr('S' + longest)[:77]}... is no type")


@pytest.mark.parametrize("members", [None, {}, "uint8 x", 1])
def test_members_that_are_no_list(members: Any) -> None:
    refused(document({"T": members}, {}), "types.T is no list")


@pytest.mark.parametrize(
    "member",
    [["name", "type"], "x", {"name": "x"}, {"type": "uint8"}, {"name": "x", "type": "uint8", "y": 1}],
)
def test_a_member_that_is_none(member: Any) -> None:
    types = {"T": [{"name": "w", "type": "uint8"}, member]}
    refused(document(types, {}), "types.T has a member that is no object of name and type")


def test_a_member_that_is_declared_twice() -> None:
    types = {"T": [*struct(x="uint8", y="uint8"), *struct(x="uint16")]}
    refused(document(types, {"x": 1, "y": 1}), "types.T.x is declared twice")


def test_members_that_lack_and_members_too_many() -> None:
    labels = [f"m{k}" for k in range(9)]
    types = {"T": struct(**dict.fromkeys(labels, "uint8"))}
    full = dict.fromkeys(labels, 1)
    assert parse(document(types, full))
    error = refused(document(types, {}), f"message lacks {', '.join(labels[:8])}")
    assert error.remedy == "type T declares it"
    refused(document(types, {**full, "m3": None}), "message.m3 is None, not a number")
    without = {label: 1 for label in labels if label != "m8"}
    refused(document(types, without), "message lacks m8")
    more = [f"e{k}" for k in range(9)]
    error = refused(
        document(types, {**full, **dict.fromkeys(more, 1)}),
        f"message has {', '.join(map(repr, more[:8]))}, which type T does not declare",
    )
    assert error.remedy == "what is not declared would not be signed; remove it or declare it"


@pytest.mark.parametrize("value", [[], None, "x", 1])
@pytest.mark.parametrize("part", ["types", "domain", "message"])
def test_a_part_that_is_no_object(part: str, value: Any) -> None:
    refused({**document({"T": []}, {}), part: value}, "types, domain and message must be objects")


@pytest.mark.parametrize("part", ["types", "primaryType", "domain", "message"])
def test_a_document_has_four_parts(part: str) -> None:
    whole = document({"T": []}, {})
    says = "the typed data is no object of exactly types, primaryType, domain and message"
    refused({name: value for name, value in whole.items() if name != part}, says)
    refused({**whole, "more": 1}, says)
    refused(json.dumps(list(whole)), says)


@pytest.mark.parametrize("primary", ["U", "", "T[]", "uint8", "EIP712Domain", None, 1])
def test_a_primary_type_that_is_none(primary: Any) -> None:
    refused(document({"T": []}, {}, primary=primary), f"primaryType {primary!r} is not among the types")


def test_as_many_types_as_are_taken() -> None:
    types: dict[str, Any] = {f"T{k}": [] for k in range(255)}
    assert parse(document({**types, "T": []}, {}))
    refused(document({**types, "T": [], "U": []}, {}), "257 types are declared, at most 256 are taken")


def test_the_largest_document() -> None:
    small = document({"T": struct(x="string")}, {"x": ""})
    assert parse(json.dumps(small).ljust(MAX_JSON)).digest == parse(small).digest
    refused(
        json.dumps(small).ljust(MAX_JSON + 1), "the typed data has 262145 bytes, at most 262144 are taken"
    )
    room = MAX_JSON - len(parse(small).canonical)
    largest = document({"T": struct(x="string")}, {"x": "a" * room})
    assert len(parse(largest).canonical) == MAX_JSON
    larger = document({"T": struct(x="string")}, {"x": "a" * (room + 1)})
    refused(larger, "the typed data has 262145 bytes, at most 262144 are taken")


def test_what_is_no_json_of_this_kind() -> None:
    refused(single("uint8", 1.0), "the typed data: float has no place in JSON of this kind")
    refused(json.dumps(single("uint8", 1.5)), "the typed data: 1.5 is not an integer")

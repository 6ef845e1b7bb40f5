"""EIP-712 typed data (eth_signTypedData_v4), strict: the message has exactly the members that its types declare.

Own code, because the public implementations that would serve belong to the library which the tests use as a foreign eye.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from participant.payloads import strict_json
from participant.payloads.addresses import keccak256
from participant.payloads.errors import PayloadError
from participant.payloads.fields import byte_string, ethereum_address, shown

MAX_JSON: Final = 256 * 1024
MAX_TYPES: Final = 256
"""Hashing a type spells out all that it refers to, so the work grows with the square of this."""
MAX_NAMED: Final = 8
"""Members that an error lists."""
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
_ARRAY: Final = re.compile(r"(.*)\[([0-9]*)\]", re.ASCII)
_NUMBER: Final = re.compile(r"(u?)int([1-9][0-9]{0,2})", re.ASCII)
_FIXED: Final = re.compile(r"bytes([1-9][0-9]?)", re.ASCII)
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,77})", re.ASCII)
_HEX_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)
_DOMAIN: Final = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
    "salt": "bytes32",
}
"""The domain's members in the order of EIP-712."""
_ATOMS: Final = {"bool", "address", "string", "bytes"}
_RESERVED: Final = re.compile(r"(u?int|u?fixed|bytes?|bool|address|string|function)[0-9x]*", re.ASCII)
"""Names that some implementation takes for a type of Solidity: a struct so named would mean two things."""


@dataclass(frozen=True)
class TypedDataSummary:
    """What a policy may judge. Values are as in the JSON, all checked against their types."""

    primary_type: str
    domain: dict[str, Any]
    message: dict[str, Any]
    chain_id: int | None
    verifying_contract: str | None


@dataclass(frozen=True)
class TypedData:
    """A checked document: `digest` is what is signed (32 bytes), `canonical` its one spelling."""

    digest: bytes
    domain_separator: bytes
    canonical: bytes
    summary: TypedDataSummary


def parse(source: str | bytes | dict[str, Any]) -> TypedData:
    """Read {types, primaryType, domain, message}. Raises PayloadError that names the member by its path."""
    if isinstance(source, dict):
        strict_json.check(source, "the typed data")
    else:
        source = strict_json.loads(source, "the typed data", MAX_JSON)
    if not isinstance(source, dict) or set(source) != {"types", "primaryType", "domain", "message"}:
        raise PayloadError("the typed data is no object of exactly types, primaryType, domain and message")
    canonical = strict_json.canonical(source)
    if len(canonical) > MAX_JSON:
        raise PayloadError(f"the typed data has {len(canonical)} bytes, at most {MAX_JSON} are taken")
    types, primary, domain, message = (source[key] for key in ("types", "primaryType", "domain", "message"))
    if not isinstance(types, dict) or not isinstance(domain, dict) or not isinstance(message, dict):
        raise PayloadError("types, domain and message must be objects")
    structs = _structs(types, domain)
    if not isinstance(primary, str) or primary not in structs or primary == "EIP712Domain":
        raise PayloadError(
            f"primaryType {shown(primary)} is not among the types", "name the message's own type"
        )
    encoder = _Encoder(structs)
    separator = encoder.hash_struct("EIP712Domain", domain, "domain")
    digest = keccak256(b"\x19\x01" + separator + encoder.hash_struct(primary, message, "message"))
    chain_id = domain.get("chainId")
    summary = TypedDataSummary(
        primary_type=primary,
        domain=domain,
        message=message,
        chain_id=None if chain_id is None else _integer(chain_id, "domain.chainId"),
        verifying_contract=domain.get("verifyingContract"),
    )
    return TypedData(digest, separator, canonical, summary)


Struct = list[tuple[str, str]]


def _structs(types: dict[str, Any], domain: dict[str, Any]) -> dict[str, Struct]:
    """Check the declarations; derive EIP712Domain from the domain's members where it is not declared."""
    if len(types) > MAX_TYPES:
        raise PayloadError(f"{len(types)} types are declared, at most {MAX_TYPES} are taken")
    structs: dict[str, Struct] = {}
    for name, members in types.items():
        if not _IDENTIFIER.fullmatch(name) or _RESERVED.fullmatch(name):
            raise PayloadError(f"types: {shown(name)} is no name for a type")
        structs[name] = _members(name, members)
    if "EIP712Domain" not in structs:
        structs["EIP712Domain"] = [(member, kind) for member, kind in _DOMAIN.items() if member in domain]
    for member, kind in structs["EIP712Domain"]:
        if _DOMAIN.get(member) != kind:
            raise PayloadError(
                f"types.EIP712Domain: {member} of type {kind} is no member of a domain",
                f"EIP-712 knows {', '.join(f'{kind} {member}' for member, kind in _DOMAIN.items())}",
            )
    for name, struct in structs.items():
        for member, kind in struct:
            base = _base(kind)
            if base not in structs and not _is_atomic(base):
                raise PayloadError(f"types.{name}.{member}: unknown type {shown(kind)}")
    return structs


def _members(name: str, members: Any) -> Struct:
    if not isinstance(members, list):
        raise PayloadError(f"types.{name} is no list")
    struct: Struct = []
    labels: set[str] = set()
    for member in members:
        if not isinstance(member, dict) or set(member) != {"name", "type"}:
            raise PayloadError(f"types.{name} has a member that is no object of name and type")
        label, kind = member["name"], member["type"]
        if not isinstance(label, str) or not _IDENTIFIER.fullmatch(label):
            raise PayloadError(f"types.{name}: {shown(label)} is no name for a member")
        if not isinstance(kind, str) or len(kind) > 256:
            raise PayloadError(f"types.{name}.{label}: {shown(kind)} is no type")
        if label in labels:
            raise PayloadError(f"types.{name}.{label} is declared twice")
        labels.add(label)
        struct.append((label, kind))
    return struct


def _base(kind: str) -> str:
    while match := _ARRAY.fullmatch(kind):
        kind = match[1]
    return kind


def _is_atomic(kind: str) -> bool:
    if kind in _ATOMS:
        return True
    if match := _NUMBER.fullmatch(kind):
        return int(match[2]) % 8 == 0 and int(match[2]) <= 256
    match = _FIXED.fullmatch(kind)
    return match is not None and int(match[1]) <= 32


@dataclass
class _Encoder:
    """hashStruct and encodeData of EIP-712."""

    structs: dict[str, Struct]
    type_hashes: dict[str, bytes] = field(default_factory=dict)

    def type_hash(self, name: str) -> bytes:
        """keccak(encodeType): the struct, then all that it refers to, by name."""
        if name not in self.type_hashes:
            seen: set[str] = set()
            todo = [name]
            while todo:
                bases = {_base(kind) for _, kind in self.structs[todo.pop()]} & self.structs.keys()
                todo += bases - seen
                seen |= bases
            order = [name, *sorted(seen - {name})]
            text = "".join(
                f"{n}({','.join(f'{kind} {label}' for label, kind in self.structs[n])})" for n in order
            )
            self.type_hashes[name] = keccak256(text.encode())
        return self.type_hashes[name]

    def hash_struct(self, name: str, value: Any, where: str) -> bytes:
        """keccak(typeHash, encodeData)."""
        if not isinstance(value, dict):
            raise PayloadError(f"{where} is {shown(value)}, not an object of type {name}")
        struct = self.structs[name]
        declared = {label for label, _ in struct}
        if missing := [label for label, _ in struct if label not in value]:
            raise PayloadError(f"{where} lacks {', '.join(missing[:MAX_NAMED])}", f"type {name} declares it")
        if extra := [label for label in value if label not in declared]:
            raise PayloadError(
                f"{where} has {', '.join(map(shown, extra[:MAX_NAMED]))}, which type {name} does not declare",
                "what is not declared would not be signed; remove it or declare it",
            )
        return keccak256(
            self.type_hash(name)
            + b"".join(self.encode(kind, value[label], f"{where}.{label}") for label, kind in struct)
        )

    def encode(self, kind: str, value: Any, where: str) -> bytes:
        """One member as 32 bytes."""
        if match := _ARRAY.fullmatch(kind):
            if not isinstance(value, list):
                raise PayloadError(f"{where} is {shown(value)}, not a list")
            if match[2] and len(value) != int(match[2]):
                raise PayloadError(f"{where} has {len(value)} items, {kind} has {int(match[2])}")
            return keccak256(
                b"".join(self.encode(match[1], item, f"{where}[{i}]") for i, item in enumerate(value))
            )
        if kind in self.structs:
            # Version 4: an absent reference, which ends a recursive type, is null and counts as zero.
            return bytes(32) if value is None else self.hash_struct(kind, value, where)
        return _encode_atom(kind, value, where)


def _encode_atom(kind: str, value: Any, where: str) -> bytes:
    """`kind` has gone through `_is_atomic`."""
    if kind == "bool":
        if not isinstance(value, bool):
            raise PayloadError(f"{where} is {shown(value)}, not true or false")
        return int(value).to_bytes(32, "big")
    if kind == "string":
        if not isinstance(value, str):
            raise PayloadError(f"{where} is {shown(value)}, not a text")
        return keccak256(value.encode())
    if kind == "bytes":
        return keccak256(byte_string(value, where))
    if kind == "address":
        return bytes(12) + ethereum_address(value, where)
    if match := _NUMBER.fullmatch(kind):
        bits = int(match[2])
        low, high = (0, 1 << bits) if match[1] else (-(1 << bits - 1), 1 << bits - 1)
        number = _integer(value, where)
        if not low <= number < high:
            raise PayloadError(f"{where} is {shown(value)}, out of range for {kind}")
        return (number % (1 << 256)).to_bytes(32, "big")
    return byte_string(value, where, int(kind.removeprefix("bytes"))).ljust(32, b"\0")


def _integer(value: Any, where: str) -> int:
    """An integer, decimal text or 0x-hex: wallets use all three."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return int(value)
    if isinstance(value, str) and _HEX_NUMBER.fullmatch(value):
        return int(value, 16)
    raise PayloadError(f"{where} is {shown(value)}, not a number", "write an integer, decimal text or 0x-hex")

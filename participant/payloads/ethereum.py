"""Unsigned Ethereum transactions: legacy (EIP-155 and, when asked for, before it), EIP-2930 and EIP-1559.

From JSON with the ecosystem's field names, or from the unsigned RLP bytes, which are the canonical form. Blob (EIP-4844)
and set-code (EIP-7702) transactions are refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from participant.payloads import strict_json
from participant.payloads.addresses import ethereum_checksum, keccak256
from participant.payloads.decoded import Signature
from participant.payloads.errors import PayloadError
from participant.payloads.fields import byte_string, ethereum_address, quantity, shown

MAX_BYTES: Final = 128 * 1024
"""The largest transaction that the network's nodes relay (go-ethereum's txMaxSize)."""
MAX_JSON: Final = 2 * MAX_BYTES + 64 * 1024
"""Twice the bytes for hex, and room for an access list's punctuation."""

WORD: Final = 1 << 256
MAX_NONCE: Final = (1 << 64) - 1
"""Exclusive: EIP-2681."""
MAX_GAS: Final = 1 << 64
MAX_CHAIN_ID: Final = (1 << 63) - 36
"""Exclusive: EIP-2294, so that v = 35 + 2 * chain id + 1 fits 64 bits."""

LEGACY, ACCESS_LIST, DYNAMIC_FEE = 0, 1, 2
_ORDER: Final = {
    LEGACY: ("nonce", "gasPrice", "gas", "to", "value", "data", "chainId"),
    ACCESS_LIST: ("chainId", "nonce", "gasPrice", "gas", "to", "value", "data", "accessList"),
    DYNAMIC_FEE: (
        "chainId",
        "nonce",
        "maxPriorityFeePerGas",
        "maxFeePerGas",
        "gas",
        "to",
        "value",
        "data",
        "accessList",
    ),
}
"""The items of unsigned RLP. Legacy ones end before chainId, or have two empty items behind it."""
_FEES: Final = {
    LEGACY: ("gasPrice",),
    ACCESS_LIST: ("gasPrice",),
    DYNAMIC_FEE: ("maxFeePerGas", "maxPriorityFeePerGas"),
}
"""The field of the fee, and last that of the tip."""
_OTHER_TYPES: Final = {3: "a blob transaction (EIP-4844)", 4: "a set-code transaction (EIP-7702)"}
_ALIASES: Final = {"gasLimit": "gas", "input": "data"}
_COMMON: Final = {"type", "chainId", "nonce", "to", "value", "gas", "data", "from"}
_SIGNED: Final = {"r", "s", "v", "yParity", "hash"}

AccessList = tuple[tuple[bytes, tuple[bytes, ...]], ...]


@dataclass(frozen=True)
class EthereumSummary:
    """What a policy may judge. Amounts in wei; `to` in EIP-55 form, None for a contract creation.

    `chain_id` None: the transaction is valid on every chain. `max_fee` is the most that it can cost besides `value`.
    """

    chain_id: int | None
    nonce: int
    to: str | None
    value: int
    data: bytes
    gas_limit: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    max_fee: int
    type: int
    access_list: AccessList

    @property
    def selector(self) -> bytes | None:
        """The first 4 bytes of `data` of a call, which name the contract's function; None without."""
        return self.data[:4] if self.to is not None and len(self.data) >= 4 else None


@dataclass(frozen=True)
class UnsignedTransaction:
    """A checked transaction. `max_fee_per_gas` and `max_priority_fee_per_gas` both hold gasPrice for types 0 and 1."""

    type: int
    chain_id: int | None
    nonce: int
    max_priority_fee_per_gas: int
    max_fee_per_gas: int
    gas_limit: int
    to: bytes | None
    value: int
    data: bytes
    access_list: AccessList = ()

    def __post_init__(self) -> None:
        if self.chain_id == 0:
            raise PayloadError("chainId is 0", "name the chain; 1 is Ethereum's main network")
        if self.max_priority_fee_per_gas > self.max_fee_per_gas:
            raise PayloadError(
                f"maxPriorityFeePerGas {self.max_priority_fee_per_gas} exceeds maxFeePerGas {self.max_fee_per_gas}",
                "the network refuses such a transaction (EIP-1559); raise the one or lower the other",
            )
        if self.gas_limit * self.max_fee_per_gas + self.value >= WORD:
            raise PayloadError("value and the highest fee together exceed 256 bits")

    def _fields(self) -> list[Any]:
        body = [self.gas_limit, self.to or b"", self.value, self.data]
        if self.type == LEGACY:
            return [self.nonce, self.max_fee_per_gas, *body]
        fees = [self.max_fee_per_gas]
        if self.type == DYNAMIC_FEE:
            fees.insert(0, self.max_priority_fee_per_gas)
        return [self.chain_id, self.nonce, *fees, *body, self.access_list]

    def _encode(self, fields: list[Any]) -> bytes:
        # Here, as below: it takes a fifth of a second to load, of every start.
        from rlp import encode

        prefix = bytes([self.type]) if self.type else b""
        return prefix + bytes(encode(fields))

    def unsigned(self) -> bytes:
        """The bytes that are hashed and signed: EIP-155's nine items, EIP-2718's type byte and list, or six items."""
        replay = [self.chain_id, 0, 0] if self.type == LEGACY and self.chain_id is not None else []
        return self._encode(self._fields() + replay)

    def digest(self) -> bytes:
        """Keccak-256 of `unsigned`, 32 bytes."""
        return keccak256(self.unsigned())

    def signed(self, signature: Signature) -> bytes:
        """The raw transaction to broadcast. Raises PayloadError for a recovery id that Ethereum cannot express."""
        if signature.v not in {0, 1}:
            raise PayloadError(
                f"recovery id {signature.v} has no form in an Ethereum transaction", "sign again"
            )
        v = signature.v
        if self.type == LEGACY:
            v += 27 if self.chain_id is None else 35 + 2 * self.chain_id
        return self._encode([*self._fields(), v, signature.r, signature.s])

    def summary(self) -> EthereumSummary:
        """What a policy may judge."""
        return EthereumSummary(
            chain_id=self.chain_id,
            nonce=self.nonce,
            to=None if self.to is None else ethereum_checksum(self.to),
            value=self.value,
            data=self.data,
            gas_limit=self.gas_limit,
            max_fee_per_gas=self.max_fee_per_gas,
            max_priority_fee_per_gas=self.max_priority_fee_per_gas,
            max_fee=self.gas_limit * self.max_fee_per_gas,
            type=self.type,
            access_list=self.access_list,
        )


def from_bytes(data: bytes) -> UnsignedTransaction:
    """Read unsigned RLP bytes, canonical ones only. Raises PayloadError."""
    if len(data) > MAX_BYTES:
        raise PayloadError(f"the transaction has {len(data)} bytes, at most {MAX_BYTES} are taken")
    if not data:
        raise PayloadError("the transaction is empty")
    first = data[0]
    if first in _OTHER_TYPES:
        raise PayloadError(
            f"{_OTHER_TYPES[first]} cannot be signed here", "legacy, EIP-2930 and EIP-1559 can"
        )
    kind, content = (first, data[1:]) if first in {ACCESS_LIST, DYNAMIC_FEE} else (LEGACY, data)
    if kind == LEGACY and first < 0xC0:
        raise PayloadError(
            f"first byte 0x{first:02x} begins no transaction", "give unsigned RLP bytes or JSON"
        )
    from rlp import decode
    from rlp.exceptions import RLPException

    try:
        items = decode(content, strict=True)
    except (RLPException, RecursionError) as error:
        raise PayloadError("the transaction is not canonical RLP") from error
    if not isinstance(items, list):
        raise PayloadError("the transaction is no RLP list")
    transaction = _from_items(kind, items)
    if transaction.unsigned() != data:
        raise PayloadError("the transaction is not canonical RLP")
    return transaction


def _from_items(kind: int, items: list[Any]) -> UnsignedTransaction:
    count = len(items)
    if kind == LEGACY and count not in {6, 9}:
        raise PayloadError(
            f"a legacy transaction of {count} items", "unsigned ones have 9, or 6 without a chain id"
        )
    if kind != LEGACY and count != len(_ORDER[kind]):
        raise PayloadError(
            f"a transaction of type {kind} with {count} items", f"unsigned ones have {len(_ORDER[kind])}"
        )
    if kind == LEGACY and count == 9 and items[7:] != [b"", b""]:
        raise PayloadError("this legacy transaction is signed already", "give the unsigned one")
    field = dict(zip(_ORDER[kind], items, strict=False))
    limits = {"nonce": MAX_NONCE, "gas": MAX_GAS, "chainId": MAX_CHAIN_ID}
    number = {
        name: _rlp_number(item, name, limits.get(name, WORD))
        for name, item in field.items()
        if name not in {"to", "data", "accessList"}
    }
    to, data, fees = field["to"], field["data"], _FEES[kind]
    if not isinstance(to, bytes) or len(to) not in {0, 20}:
        raise PayloadError("to is neither empty nor 20 bytes")
    if not isinstance(data, bytes):
        raise PayloadError("data is no byte string")
    return UnsignedTransaction(
        type=kind,
        chain_id=number.get("chainId"),
        nonce=number["nonce"],
        max_priority_fee_per_gas=number[fees[-1]],
        max_fee_per_gas=number[fees[0]],
        gas_limit=number["gas"],
        to=to or None,
        value=number["value"],
        data=data,
        access_list=_rlp_access_list(field.get("accessList", [])),
    )


def _rlp_number(item: Any, name: str, limit: int) -> int:
    if not isinstance(item, bytes) or len(item) > 32:
        raise PayloadError(f"{name} is no number of at most 256 bits")
    if item[:1] == b"\0":
        raise PayloadError(f"{name} has a leading zero", "numbers in RLP have none")
    return quantity(int.from_bytes(item, "big"), name, limit)


def _rlp_access_list(entries: Any) -> AccessList:
    if not isinstance(entries, list):
        raise PayloadError("accessList is no list")
    found = []
    for entry in entries:
        match entry:
            case [bytes() as address, list() as keys] if len(address) == 20 and all(
                isinstance(key, bytes) and len(key) == 32 for key in keys
            ):
                found.append((address, tuple(keys)))
            case _:
                raise PayloadError(
                    "accessList has an entry that is not [address of 20 bytes, [keys of 32 bytes]]"
                )
    return tuple(found)


def from_json(source: str | bytes | dict[str, Any]) -> tuple[UnsignedTransaction, bytes | None]:
    """Read a transaction object; return it with the 20 bytes of its `from`, None if it names none.

    Numbers are integers or 0x-hex. `gasLimit` and `input` are taken for `gas` and `data`. The type follows from the
    fees where it is not given; `value`, `data` and `accessList` may be left out. `"chainId": null` asks for a legacy
    transaction without replay protection; `to` is null, or absent where there is `data`, to create a contract. Raises
    PayloadError that names the field.
    """
    if isinstance(source, dict):
        strict_json.check(source, "the transaction")
    else:
        source = strict_json.loads(source, "the transaction", MAX_JSON)
    if not isinstance(source, dict):
        raise PayloadError("the transaction is no JSON object")
    fields = _unalias(source)
    kind = _kind(fields)
    allowed = _COMMON.union(_FEES[kind], () if kind == LEGACY else ("accessList",))
    for name in fields:
        if name in _SIGNED:
            raise PayloadError(f"field {name} belongs to a signed transaction", "give the unsigned one")
        if name not in allowed:
            raise PayloadError(
                f"field {shown(name)} has no place in a transaction of type {kind}", "remove it"
            )
    data = byte_string(fields.get("data", "0x"), "data")
    missing = [name for name in ("chainId", "nonce", "gas", *_FEES[kind]) if name not in fields]
    if "to" not in fields and not data:
        missing.append("to")
    if missing:
        hint = (
            ' ("chainId": null asks for one that is valid on every chain)' if missing == ["chainId"] else ""
        )
        raise PayloadError(f"missing in the transaction: {', '.join(missing)}", f"add it{hint}")
    if fields["chainId"] is None and kind != LEGACY:
        raise PayloadError(f"chainId is null in a transaction of type {kind}", "name the chain")
    fee, tip = _FEES[kind][0], _FEES[kind][-1]
    to = fields.get("to")
    transaction = UnsignedTransaction(
        type=kind,
        chain_id=None if fields["chainId"] is None else quantity(fields["chainId"], "chainId", MAX_CHAIN_ID),
        nonce=quantity(fields["nonce"], "nonce", MAX_NONCE),
        max_priority_fee_per_gas=quantity(fields[tip], tip, WORD),
        max_fee_per_gas=quantity(fields[fee], fee, WORD),
        gas_limit=quantity(fields["gas"], "gas", MAX_GAS),
        to=None if to is None else ethereum_address(to, "to"),
        value=quantity(fields.get("value", 0), "value", WORD),
        data=data,
        access_list=_json_access_list(fields.get("accessList", [])),
    )
    size = len(transaction.unsigned())
    if size > MAX_BYTES:
        raise PayloadError(f"the transaction has {size} bytes, at most {MAX_BYTES} are taken")
    return transaction, ethereum_address(fields["from"], "from") if "from" in fields else None


def _unalias(source: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in source.items():
        plain = _ALIASES.get(name, name)
        if plain in fields and fields[plain] != value:
            raise PayloadError(
                f"{plain} and {name} differ" if plain != name else f"two values of {name}", "give one"
            )
        fields[plain] = value
    return fields


def _kind(fields: dict[str, Any]) -> int:
    if "type" in fields:
        kind = quantity(fields["type"], "type", 128)
        if kind not in _FEES:
            what = _OTHER_TYPES.get(kind, f"a transaction of type {kind}")
            raise PayloadError(f"{what} cannot be signed here", "types 0, 1 (EIP-2930) and 2 (EIP-1559) can")
        return kind
    if "maxFeePerGas" in fields or "maxPriorityFeePerGas" in fields:
        return DYNAMIC_FEE
    if "gasPrice" not in fields:
        raise PayloadError(
            "missing in the transaction: the fee", "add maxFeePerGas and maxPriorityFeePerGas, or gasPrice"
        )
    return ACCESS_LIST if "accessList" in fields else LEGACY


def _json_access_list(entries: Any) -> AccessList:
    if not isinstance(entries, list):
        raise PayloadError("accessList is no list")
    found = []
    for place, entry in enumerate(entries):
        name = f"accessList[{place}]"
        if not isinstance(entry, dict) or set(entry) != {"address", "storageKeys"}:
            raise PayloadError(f"{name} is no object of address and storageKeys")
        if not isinstance(entry["storageKeys"], list):
            raise PayloadError(f"{name}.storageKeys is no list")
        keys = tuple(byte_string(key, f"{name}.storageKeys", 32) for key in entry["storageKeys"])
        found.append((ethereum_address(entry["address"], f"{name}.address"), keys))
    return tuple(found)

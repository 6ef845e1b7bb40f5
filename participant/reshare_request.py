"""What operators approve before an account goes to another committee (protocol.md 2.3).

The file is public. It holds all that a new holder has to know from its own operator and from nobody else: the key, the
threshold, the dealers with their public shares, both committees. Its id is a hash of all of it, so whoever compares two
ids (by voice) compares all of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import yaml

from participant import strict_yaml
from participant.committee import MAX_COMMITTEE_FILE, BadCommittee, Committee
from participant.domain import DOMAIN
from participant.errors import NodeError
from participant.identity import BadCard, hex_field
from tss.cggmp24 import reshare
from tss.cggmp24.reshare import DEALER, NEW, Terms
from tss.envelope import PartyId
from tss.errors import ProtocolError
from tss.groups import Point
from tss.params import Suite
from tss.records import KeyShare
from tss.transcript import hash_commit

OPERATION: Final = reshare.KIND
REQUEST_VERSION: Final = 1
MAX_REQUEST_FILE: Final = 3 * MAX_COMMITTEE_FILE
_KEYS: Final = {
    "version", "operation", "request", "account", "curve", "public_key", "key_id", "chain_code_hash", "share_epoch",
    "threshold", "dealers", "new_threshold", "from", "to",
}  # fmt: skip


class BadRequest(NodeError):
    """A request that cannot be: unreadable, changed after it was made, or at odds with itself."""


@dataclass(frozen=True)
class ReshareRequest:
    """An account, the committee that has it and the one that gets it. Valid by construction (BadRequest otherwise)."""

    account_id: str
    suite: Suite
    old: Committee
    new: Committee
    terms: Terms

    def __post_init__(self) -> None:
        if self.terms.committee_id != self.new.committee_id:
            raise BadRequest("the terms name another committee than the one that is to get the account")
        if self.old.committee_id == self.new.committee_id:
            raise BadRequest("this committee has the account already: for new shares within it, refresh it")
        if any(not 1 <= i <= self.old.n for i in self.terms.dealers):
            raise BadRequest("a dealer is no member of the committee that has the account")
        try:
            self.terms.check(sorted(self.seats))
        except ProtocolError as error:
            raise BadRequest(str(error)) from None

    @classmethod
    def of(
        cls,
        account_id: str,
        share: KeyShare,
        old: Committee,
        new: Committee,
        *,
        dealers: Sequence[int],
        threshold: int,
    ) -> Self:
        """As a holder asks for it. `dealers` are evaluation points. Raises BadRequest."""
        try:
            terms = Terms.of(share, dealers, threshold, new.committee_id)
        except ProtocolError as error:
            raise BadRequest(str(error)) from None
        return cls(account_id, share.suite, old, new, terms)

    @cached_property
    def request_id(self) -> bytes:
        """32 bytes: Hc("reshare request", account, curve, n, old committee id, what protocol.md 0.7 lists)."""
        about = [self.account_id, self.suite.group.name, self.old.n, self.old.committee_id]
        return hash_commit(DOMAIN, "reshare request", *about, *self.terms.tail())

    @cached_property
    def seats(self) -> Mapping[PartyId, bytes]:
        """The identity behind every party of the session."""
        dealers = {PartyId(DEALER, i): self.old.identities[i - 1] for i in self.terms.dealers}
        return dealers | {PartyId(NEW, j + 1): identity for j, identity in enumerate(self.new.identities)}

    @property
    def deletions_due(self) -> int:
        """How many old holders have to destroy their shares before the others cannot sign any more: n-t+1."""
        return self.old.n - self.terms.t + 1

    def to_yaml(self) -> str:
        """The file."""
        terms = self.terms
        value = {
            "version": REQUEST_VERSION,
            "operation": OPERATION,
            "request": self.request_id.hex(),
            "account": self.account_id,
            "curve": self.suite.group.name,
            "public_key": terms.X.to_bytes().hex(),
            "key_id": terms.key_id.hex(),
            "chain_code_hash": None if terms.c_hash is None else terms.c_hash.hex(),
            "share_epoch": terms.share_epoch.hex(),
            "threshold": terms.t,
            "dealers": [
                {"index": i - 1, "public_share": X_i.to_bytes().hex()} for i, X_i in terms.dealers.items()
            ],
            "new_threshold": terms.new_t,
            "from": self.old.as_dict(),
            "to": self.new.as_dict(),
        }
        return yaml.safe_dump(value, sort_keys=False, default_flow_style=False)

    @classmethod
    def from_yaml(cls, text: str, suites: Mapping[str, Suite]) -> Self:
        """Parse a file and check it whole. `suites`: by curve. Raises BadRequest."""
        try:
            return cls._from_value(strict_yaml.loads(text, MAX_REQUEST_FILE), suites)
        except (ValueError, KeyError, TypeError, BadCard, BadCommittee, ProtocolError) as error:
            raise BadRequest(f"the request cannot be read: {error}") from None

    @classmethod
    def _from_value(cls, value: Any, suites: Mapping[str, Suite]) -> Self:
        if not isinstance(value, dict) or set(map(str, value)) != _KEYS:
            raise BadRequest("it has not exactly the fields of a request to reshare")
        if value["version"] != REQUEST_VERSION or value["operation"] != OPERATION:
            raise BadRequest("it is a request of another version or operation")
        account_id, curve = value["account"], value["curve"]
        if not isinstance(account_id, str) or curve not in suites:
            raise BadRequest("its account is no text, or its curve is unknown")
        suite = suites[curve]
        dealers = [(count_field(line["index"]) + 1, line["public_share"]) for line in value["dealers"]]
        if [i for i, _ in dealers] != sorted({i for i, _ in dealers}):
            raise BadRequest("its dealers are not listed once each, in order")
        hashed = value["chain_code_hash"]
        terms = Terms(
            key_id=hex_field(value["key_id"], 32, "key_id"),
            X=point_field(suite, value["public_key"]),
            c_hash=None if hashed is None else hex_field(hashed, 32, "chain_code_hash"),
            t=count_field(value["threshold"]),
            share_epoch=hex_field(value["share_epoch"], 32, "share_epoch"),
            dealers={i: point_field(suite, X_i) for i, X_i in dealers},
            new_t=count_field(value["new_threshold"]),
            committee_id=hex_field(value["to"]["committee"], 32, "the new committee's id"),
        )
        request = cls(
            account_id, suite, Committee.from_dict(value["from"]), Committee.from_dict(value["to"]), terms
        )
        if (terms.c_hash is None) != (suite.chain_code_bytes == 0):
            raise BadRequest("its chain code does not fit its curve")
        if request.request_id != hex_field(value["request"], 32, "the request's id"):
            raise BadRequest(
                f"its id is not that of its content, which is {request.request_id.hex()}: the file was changed after it was made"
            )
        return request


def count_field(value: Any) -> int:
    """A small whole number. Raises BadRequest."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 16:
        raise BadRequest(f"{str(value)[:40]!r} is no whole number that could be meant")
    return value


def point_field(suite: Suite, text: Any) -> Point:
    """A point in hex. Raises ValueError, ProtocolError."""
    size = suite.group.point_bytes
    return suite.group.decode_point(hex_field(text, size, "a point"))

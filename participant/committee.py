"""Committees: the nodes that share keys, as everybody knows them.

A committee is public. Its id is a hash of its sorted identities, n and the default threshold, so whoever compares two
ids (by voice) compares all of that. A party's index is its rank among the sorted identities, counted from 0; its
evaluation point in the protocols is index + 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml

from participant import strict_yaml
from participant.domain import DOMAIN
from participant.errors import NodeError
from participant.identity import BadCard, Card, hex_field
from tss.params import MAX_PARTIES
from tss.transcript import hash_commit

COMMITTEE_VERSION: Final = 1
MAX_COMMITTEE_FILE: Final = 64 << 10
_KEYS: Final = {"version", "committee", "threshold", "members"}


class BadCommittee(NodeError):
    """A committee that cannot be: wrong id, size, threshold or members."""


class NotAMember(NodeError):
    """The identity is not one of the committee's."""


@dataclass(frozen=True)
class Committee:
    """Members sorted by identity, and the default threshold. Valid by construction (BadCommittee otherwise)."""

    members: tuple[Card, ...]
    threshold: int
    """The t of new accounts unless they say otherwise: 2 <= t <= n <= 16."""

    def __post_init__(self) -> None:
        n = len(self.members)
        if not 2 <= n <= MAX_PARTIES:
            raise BadCommittee(f"a committee has 2 to {MAX_PARTIES} members, not {n}")
        if not isinstance(self.threshold, int) or isinstance(self.threshold, bool):
            raise BadCommittee(f"threshold {self.threshold!r} is not a whole number")
        if not 2 <= self.threshold <= n:
            raise BadCommittee(f"threshold {self.threshold} is out of range: 2 <= t <= {n} for {n} members")
        for what in ("identity", "gateway_access"):
            seen = [getattr(card, what) for card in self.members]
            for key in seen:
                if seen.count(key) > 1:
                    raise BadCommittee(f"duplicate {what} {key.hex()}: every member has its own")
        if list(self.members) != sorted(self.members):
            raise BadCommittee("members are not sorted by identity")

    @classmethod
    def of(cls, cards: Iterable[Card], threshold: int) -> Self:
        """The committee of these members, in any order. Raises BadCommittee."""
        return cls(tuple(sorted(cards)), threshold)

    @property
    def n(self) -> int:
        """Number of members."""
        return len(self.members)

    @property
    def identities(self) -> list[bytes]:
        """Identity keys by index."""
        return [card.identity for card in self.members]

    @property
    def committee_id(self) -> bytes:
        """32 bytes: Hc("committee", [identities sorted], n, t)."""
        return hash_commit(DOMAIN, "committee", self.identities, self.n, self.threshold)

    def index_of(self, identity: bytes) -> int:
        """The index, from 0, of the member with this identity. Raises NotAMember."""
        try:
            return self.identities.index(identity)
        except ValueError:
            raise NotAMember(
                f"identity {identity.hex()} is not a member of committee {self.committee_id.hex()}"
            ) from None

    def point_of(self, identity: bytes) -> int:
        """The evaluation point I_j = index + 1 of a member. Raises NotAMember."""
        return self.index_of(identity) + 1

    def as_dict(self) -> dict[str, Any]:
        """What committee.yaml holds."""
        return {
            "version": COMMITTEE_VERSION,
            "committee": self.committee_id.hex(),
            "threshold": self.threshold,
            "members": [card.as_dict() for card in self.members],
        }

    def to_yaml(self) -> str:
        """The public committee file."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, default_flow_style=False)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Parse a committee file and check it whole: keys, signatures, sizes, and the id. Raises BadCommittee."""
        try:
            return cls.from_dict(strict_yaml.loads(text, MAX_COMMITTEE_FILE))
        except (ValueError, BadCard) as error:
            raise BadCommittee(str(error)) from None

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """The inverse of `as_dict`. Raises BadCommittee, BadCard, ValueError."""
        if not isinstance(value, dict):
            raise BadCommittee("it is not a mapping")
        unknown, missing = set(map(str, value)) - _KEYS, _KEYS - set(map(str, value))
        if unknown or missing:
            parts = [("unknown", unknown), ("missing", missing)]
            raise BadCommittee("; ".join(f"{w} keys: {', '.join(sorted(k))}" for w, k in parts if k))
        if value["version"] != COMMITTEE_VERSION or isinstance(value["version"], bool):
            raise BadCommittee(
                f"version {value['version']!r}; this release reads version {COMMITTEE_VERSION}"
            )
        expected = hex_field(value["committee"], 32, "the committee id")
        if not isinstance(value["members"], list) or len(value["members"]) > MAX_PARTIES:
            raise BadCommittee(f"members is not a list of 2 to {MAX_PARTIES} cards")
        committee = cls.of([Card.from_dict(card) for card in value["members"]], value["threshold"])
        if committee.committee_id != expected:
            raise BadCommittee(
                f"the id {expected.hex()} is not that of these members and threshold, which is "
                f"{committee.committee_id.hex()}: the file was changed after it was made"
            )
        return committee


def read_committee(path: Path) -> Committee:
    """Read committee.yaml. Raises BadCommittee, which names the file."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_COMMITTEE_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise BadCommittee(
            f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}"
        ) from None
    try:
        return Committee.from_yaml(text)
    except BadCommittee as error:
        raise BadCommittee(f"{path}: {error}") from None


def write_committee(path: Path, committee: Committee) -> None:
    """Write committee.yaml, which is public; an existing file is not overwritten. Raises BadCommittee."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(committee.to_yaml())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BadCommittee(f"cannot write {path}: {error.strerror}") from None

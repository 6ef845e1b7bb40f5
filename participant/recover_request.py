"""What operators approve before a lost share comes back in its own place (protocol.md 2.4).

The file is public. It names the place and the identity that it gets, the helpers, the committee before and after, and of each
account what the recipient has to know from its own operator: the key, the threshold, all public shares. Its id is a hash of
all of it, so whoever compares two ids (by voice) compares all of that.
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
from participant.identity import BadCard, hex_field
from participant.reshare_request import BadRequest, count_field, point_field
from tss.cggmp24 import recover
from tss.cggmp24.recover import HELPER, RECIPIENT, Terms
from tss.encoding import Value
from tss.envelope import PartyId
from tss.errors import ProtocolError
from tss.params import Suite
from tss.records import KeyShare
from tss.transcript import hash_commit

OPERATION: Final = recover.KIND
REQUEST_VERSION: Final = 1
MAX_ACCOUNTS: Final = 256
"""Of one request: each is a session of its own."""
MAX_REQUEST_FILE: Final = 3 * MAX_COMMITTEE_FILE + (2 << 20)
_KEYS: Final = {"version", "operation", "request", "lost", "helpers", "from", "to", "accounts"}
_ACCOUNT_KEYS: Final = {
    "account", "curve", "public_key", "key_id", "chain_code_hash", "share_epoch", "aux_id", "threshold",
    "public_shares",
}  # fmt: skip


@dataclass(frozen=True)
class LostAccount:
    """An account, as the members but one have it."""

    account_id: str
    suite: Suite
    terms: Terms
    aux_id: bytes | None

    @property
    def line(self) -> list[Value]:
        """What protocol.md 0.7 lists of it for a refresh."""
        terms = self.terms
        return [
            *(terms.key_id, terms.X, terms.c_hash, terms.t, terms.share_epoch, self.aux_id),
            list(terms.public_shares.values()),
        ]


@dataclass(frozen=True)
class RecoverRequest:
    """One place of a committee, and the accounts whose shares were lost there. Valid by construction (BadRequest otherwise)."""

    old: Committee
    new: Committee
    """The same places; at the lost one the identity that gets the shares, which may be the old one."""
    r: int
    """The evaluation point."""
    helpers: tuple[int, ...]
    accounts: tuple[LostAccount, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.r <= self.old.n:
            raise BadRequest(f"index {self.r - 1} is no place of the committee")
        same = (self.old.n, self.old.threshold) == (self.new.n, self.new.threshold)
        others = [
            [identity for place, identity in enumerate(known.identities, start=1) if place != self.r]
            for known in (self.old, self.new)
        ]
        if not same or others[0] != others[1]:
            raise BadRequest(
                "the new committee is not the old one with another identity in the lost place: make that identity for the "
                "place (mpc-keygen identity --place), so that nobody else's index changes"
            )
        names = [account.account_id for account in self.accounts]
        if not 1 <= len(names) <= MAX_ACCOUNTS or names != sorted(set(names)):
            raise BadRequest(f"a request is for 1 to {MAX_ACCOUNTS} accounts, each once, by name")
        if len({account.terms.key_id for account in self.accounts}) != len(names):
            raise BadRequest("two of its accounts have one key")
        for account in self.accounts:
            terms = account.terms
            if (terms.helpers, terms.r, terms.identity) != (self.helpers, self.r, self.identity):
                raise BadRequest("an account has other helpers or another recipient than the request")
            if len(terms.public_shares) != self.old.n:
                raise BadRequest(f"account {account.account_id!r} has not one public share a member")
            try:
                terms.check(self.seats)
            except ProtocolError as error:
                raise BadRequest(f"account {account.account_id!r}: {error}") from None

    @classmethod
    def of(
        cls,
        old: Committee,
        new: Committee,
        index: int,
        helpers: Sequence[int],
        accounts: Mapping[str, tuple[KeyShare, bytes | None]],
    ) -> Self:
        """As a member asks for it. `index` and `helpers` count from 0; `accounts`: share and aux_id. Raises BadRequest."""
        if not 0 <= index < new.n:
            raise BadRequest(f"index {index} is no place of the committee")
        points, identity = tuple(sorted({i + 1 for i in helpers})), new.identities[index]
        lost = tuple(
            LostAccount(name, share.suite, Terms.of(share, points, index + 1, identity), aux_id)
            for name, (share, aux_id) in sorted(accounts.items())
        )
        return cls(old, new, index + 1, points, lost)

    @property
    def identity(self) -> bytes:
        """Of whoever gets the shares."""
        return self.new.identities[self.r - 1]

    @cached_property
    def seats(self) -> Mapping[PartyId, bytes]:
        """The identity behind every party of the sessions."""
        helpers = {PartyId(HELPER, i): self.new.identities[i - 1] for i in self.helpers if i <= self.new.n}
        return helpers | {PartyId(RECIPIENT, self.r): self.identity}

    @cached_property
    def request_id(self) -> bytes:
        """32 bytes: Hc("recover request", both committees' ids, r, [account, curve, aux_id, what protocol.md 0.7 lists])."""
        lines: list[Value] = [
            [account.account_id, account.suite.group.name, account.aux_id, *account.terms.tail()]
            for account in self.accounts
        ]
        return hash_commit(
            DOMAIN, "recover request", self.old.committee_id, self.new.committee_id, self.r, lines
        )

    @property
    def suites(self) -> dict[str, Suite]:
        """The suites of its accounts, by curve, each once."""
        return {account.suite.group.name: account.suite for account in self.accounts}

    def account(self, account_id: str) -> LostAccount | None:
        """The one of this name."""
        return next((account for account in self.accounts if account.account_id == account_id), None)

    def to_yaml(self) -> str:
        """The file."""
        value = {
            "version": REQUEST_VERSION,
            "operation": OPERATION,
            "request": self.request_id.hex(),
            "lost": self.r - 1,
            "helpers": [i - 1 for i in self.helpers],
            "from": self.old.as_dict(),
            "to": self.new.as_dict(),
            "accounts": [_account_value(account) for account in self.accounts],
        }
        return yaml.safe_dump(value, sort_keys=False, default_flow_style=False)

    @classmethod
    def from_yaml(cls, text: str, suites: Mapping[str, Suite]) -> Self:
        """Parse a file and check it whole. `suites`: by curve. Raises BadRequest."""
        try:
            return cls._from_value(strict_yaml.loads(text, MAX_REQUEST_FILE), suites)
        except (ValueError, KeyError, TypeError, IndexError, BadCard, BadCommittee, ProtocolError) as error:
            raise BadRequest(f"the request cannot be read: {error}") from None

    @classmethod
    def _from_value(cls, value: Any, suites: Mapping[str, Suite]) -> Self:
        if not isinstance(value, dict) or set(map(str, value)) != _KEYS:
            raise BadRequest("it has not exactly the fields of a request to recover shares")
        if value["version"] != REQUEST_VERSION or value["operation"] != OPERATION:
            raise BadRequest("it is a request of another version or operation")
        old, new = Committee.from_dict(value["from"]), Committee.from_dict(value["to"])
        r, helpers = count_field(value["lost"]) + 1, tuple(count_field(i) + 1 for i in value["helpers"])
        if not 1 <= r <= new.n:
            raise BadRequest("the lost place is none of the committee")
        identity = new.identities[r - 1]
        accounts = tuple(_account(line, suites, helpers, r, identity) for line in value["accounts"])
        request = cls(old, new, r, helpers, accounts)
        if request.request_id != hex_field(value["request"], 32, "the request's id"):
            raise BadRequest(
                f"its id is not that of its content, which is {request.request_id.hex()}: the file was changed after it was made"
            )
        return request


def is_recovery(text: str) -> bool:
    """Whether a file that operators approve is, or claims to be, one of these."""
    return f"operation: {OPERATION}" in text.splitlines()


def _account_value(account: LostAccount) -> dict[str, Any]:
    terms = account.terms
    return {
        "account": account.account_id,
        "curve": account.suite.group.name,
        "public_key": terms.X.to_bytes().hex(),
        "key_id": terms.key_id.hex(),
        "chain_code_hash": None if terms.c_hash is None else terms.c_hash.hex(),
        "share_epoch": terms.share_epoch.hex(),
        "aux_id": None if account.aux_id is None else account.aux_id.hex(),
        "threshold": terms.t,
        "public_shares": [X_j.to_bytes().hex() for X_j in terms.public_shares.values()],
    }


def _account(
    line: Any, suites: Mapping[str, Suite], helpers: tuple[int, ...], r: int, identity: bytes
) -> LostAccount:
    if not isinstance(line, dict) or set(map(str, line)) != _ACCOUNT_KEYS:
        raise BadRequest("one of its accounts has not exactly the fields of one")
    account_id, curve = line["account"], line["curve"]
    if not isinstance(account_id, str) or curve not in suites:
        raise BadRequest("one of its accounts is no text, or its curve is unknown")
    suite = suites[curve]
    hashed, aux_id = line["chain_code_hash"], line["aux_id"]
    if (hashed is None) != (suite.chain_code_bytes == 0) or (aux_id is not None and not suite.has_aux):
        raise BadRequest("chain code or auxiliary information of an account do not fit its curve")
    shares = [point_field(suite, X_j) for X_j in line["public_shares"]]
    terms = Terms(
        key_id=hex_field(line["key_id"], 32, "key_id"),
        X=point_field(suite, line["public_key"]),
        c_hash=None if hashed is None else hex_field(hashed, 32, "chain_code_hash"),
        t=count_field(line["threshold"]),
        share_epoch=hex_field(line["share_epoch"], 32, "share_epoch"),
        helpers=helpers,
        public_shares=dict(enumerate(shares, start=1)),
        r=r,
        identity=identity,
    )
    return LostAccount(account_id, suite, terms, None if aux_id is None else hex_field(aux_id, 32, "aux_id"))

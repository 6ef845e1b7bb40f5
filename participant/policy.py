"""What this node lets happen: its own decision, whatever the others decided.

`Policy.decide` is the interface; `RulePolicy` is its first form, from the settings. The default refuses everything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

ANY: Final = "*"
"""In a list of names: everybody, everything."""

SELF: Final = "self"
"""In a list of proposers: this node itself."""


class Action(StrEnum):
    """What is decided about. All but SIGN and READ are ceremonies."""

    SIGN = "sign"
    READ = "read"
    """Public keys and account lists, for a caller."""
    KEYGEN = "keygen"
    AUX = "aux"
    PRESIGN = "presign"
    REFRESH = "refresh"
    RESHARE = "reshare"
    RECOVERY = "recovery"


class PayloadKind(StrEnum):
    """What a digest was made from (wallet-mpc-wire: the oneof of Sign). DIGEST is a raw one that nobody can read."""

    DIGEST = "digest"
    MESSAGE = "message"
    ETHEREUM_TX = "ethereum_tx"
    TYPED_DATA = "typed_data"
    PSBT = "psbt"
    SOLANA_TX = "solana_tx"
    SSHSIG = "sshsig"


class Reason(StrEnum):
    """Stable codes of refusals."""

    NO_RULE = "NO_RULE"
    CALLER_NOT_ALLOWED = "CALLER_NOT_ALLOWED"
    PROPOSER_NOT_ALLOWED = "PROPOSER_NOT_ALLOWED"
    RAW_DIGEST_NOT_ALLOWED = "RAW_DIGEST_NOT_ALLOWED"
    PAYLOAD_NOT_ALLOWED = "PAYLOAD_NOT_ALLOWED"
    CEREMONY_NOT_ALLOWED = "CEREMONY_NOT_ALLOWED"


@dataclass(frozen=True)
class PolicyRequest:
    """Everything that a policy may look at.

    A caller's request to this node has `caller` and the proposer SELF; a peer's proposal has the peer's identity in
    hexadecimal as `proposer` and no caller (who asked that peer is that peer's business); when a caller asked this node
    and a peer proposes what it asked for, both are there and both must be allowed. Neither: this node acts by itself.
    """

    action: Action
    proposer: str = SELF
    caller: str | None = None
    account_id: str | None = None
    committee_id: bytes | None = None
    payload: PayloadKind | None = None
    digest: bytes | None = None
    path: str | None = None
    signers: tuple[int, ...] = ()
    content: Any = None
    """The decoded transaction or message, for policies that look inside."""


@dataclass(frozen=True)
class Allow:
    """Go on. `text` names the rule."""

    text: str


@dataclass(frozen=True)
class Refuse:
    """Do not. `code` is stable, `text` is for the reader."""

    code: Reason
    text: str


Decision = Allow | Refuse


class Policy(ABC):
    """A node's policy."""

    @abstractmethod
    def decide(self, request: PolicyRequest) -> Decision:
        """The decision on one request. Never raises."""

    def describe(self) -> str:
        """One line for the log at start-up."""
        return type(self).__name__


_Name = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_Proposer = Annotated[str, StringConstraints(pattern=r"^(\*|self|[0-9a-f]{64})$")]


class _Model(BaseModel):
    # The configuration reference takes its words from the docstrings below the fields.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class AccountRule(_Model):
    """What may be done with some accounts. Whatever is not listed is refused."""

    accounts: list[_Name] = Field(min_length=1)
    """Account ids, compared whole; "*" stands for all that no other rule names."""
    callers: list[_Name] = []
    """Callers that may ask this node; "*" for every authenticated one (and the loopback caller, where there is one)."""
    proposers: list[_Proposer] = []
    """Identities (64 hexadecimal digits) of nodes whose proposals are accepted; "self" for this one, "*" for all."""
    payloads: list[Literal["message", "ethereum_tx", "typed_data", "psbt", "solana_tx", "sshsig"]] = []
    """Kinds of payload that this node can read before it signs."""
    raw_digests: bool = False
    """Whether a bare 32-byte digest is signed, of which nobody can say what it means."""


class CeremonyRule(_Model):
    """Who may start ceremonies of some kinds."""

    kinds: list[Literal["keygen", "aux", "presign", "refresh", "reshare", "recovery"]] = Field(min_length=1)
    """Ceremonies that this rule allows; those that no rule names are refused."""
    callers: list[_Name] = []
    """Callers and operators that may ask this node for them; "*" for every authenticated one."""
    proposers: list[_Proposer] = []
    """Nodes whose proposals of them are accepted, as in `rules`."""


class PolicySettings(_Model):
    """The `policy` section of a service's settings. Empty, it refuses everything."""

    rules: list[AccountRule] = []
    """What may be done with which accounts; an account has one rule at most."""
    ceremonies: list[CeremonyRule] = []
    """Who may start key generation and the like; a kind has one rule at most."""
    note: str = ""
    """Free text for whoever reads the file; shown at start-up."""

    @model_validator(mode="after")
    def _one_rule_an_account(self) -> Self:
        names: list[str] = [name for rule in self.rules for name in rule.accounts]
        kinds: list[str] = [kind for rule in self.ceremonies for kind in rule.kinds]
        for what, found in (("account", names), ("ceremony", kinds)):
            repeated = sorted({name for name in found if found.count(name) > 1})
            if repeated:
                raise ValueError(
                    f"{what} {repeated[0]!r} stands in two rules; which of them holds would be a guess"
                )
        return self


class RulePolicy(Policy):
    """Decides by the rule that names the account, else by the one for "*", else refuses."""

    def __init__(self, settings: PolicySettings) -> None:
        self._note = settings.note
        self._rules = {name: rule for rule in settings.rules for name in rule.accounts}
        self._ceremonies: dict[str, CeremonyRule] = {
            kind: rule for rule in settings.ceremonies for kind in rule.kinds
        }

    def describe(self) -> str:
        """One line for the log at start-up."""
        counts = f"{len(self._rules)} account rules, {len(self._ceremonies)} ceremonies allowed"
        return f"{counts}: {self._note}" if self._note else counts

    def decide(self, request: PolicyRequest) -> Decision:
        """See `Policy.decide`."""
        if request.action in (Action.SIGN, Action.READ):
            return self._decide_account(request)
        rule = self._ceremonies.get(str(request.action))
        if rule is None:
            return Refuse(Reason.CEREMONY_NOT_ALLOWED, f"this node's policy allows no {request.action}")
        return _who(request, rule.callers, rule.proposers) or Allow(f"ceremony {request.action}")

    def _decide_account(self, request: PolicyRequest) -> Decision:
        account_id = request.account_id
        rule = self._rules.get(account_id, self._rules.get(ANY)) if account_id is not None else None
        if rule is None:
            return Refuse(Reason.NO_RULE, f"this node's policy has no rule for account {account_id!r}")
        refusal = _who(request, rule.callers, rule.proposers)
        if refusal is not None:
            return refusal
        if request.action is Action.SIGN:
            refusal = _what(request, rule)
            if refusal is not None:
                return refusal
        return Allow(f"rule for {account_id!r}" if account_id in self._rules else f"rule for {ANY}")


def _who(request: PolicyRequest, callers: list[str], proposers: list[str]) -> Refuse | None:
    """The caller where there is one; the proposing node where it is another one, or where this one acts by itself."""
    if request.caller is not None and ANY not in callers and request.caller not in callers:
        text = f"this node's policy does not let caller {request.caller!r} ask for {request.action}"
        return Refuse(Reason.CALLER_NOT_ALLOWED, text)
    proposed = request.proposer != SELF or request.caller is None
    if proposed and ANY not in proposers and request.proposer not in proposers:
        text = f"this node's policy takes no {request.action} proposal from {request.proposer}"
        return Refuse(Reason.PROPOSER_NOT_ALLOWED, text)
    return None


def _what(request: PolicyRequest, rule: AccountRule) -> Refuse | None:
    if request.payload is PayloadKind.DIGEST:
        if not rule.raw_digests:
            text = "this node's policy signs no raw digests for this account; send the transaction or message itself"
            return Refuse(Reason.RAW_DIGEST_NOT_ALLOWED, text)
    elif request.payload is None or str(request.payload) not in rule.payloads:
        text = f"this node's policy signs no payload of kind {request.payload} for this account"
        return Refuse(Reason.PAYLOAD_NOT_ALLOWED, text)
    return None


PERMISSIVE_NOTE: Final = (
    "PERMISSIVE DEVELOPMENT POLICY: every caller and every committee member may have anything signed, raw digests "
    "included, and start any ceremony. Replace it before a key is worth anything."
)


def permissive_development_policy() -> PolicySettings:
    """Allows everything, and says so wherever it is shown. For development only."""
    return PolicySettings(
        rules=[
            AccountRule(
                accounts=[ANY],
                callers=[ANY],
                proposers=[ANY],
                payloads=["message", "ethereum_tx", "typed_data", "psbt", "solana_tx", "sshsig"],
                raw_digests=True,
            )
        ],
        ceremonies=[
            CeremonyRule(
                kinds=["keygen", "aux", "presign", "refresh", "reshare", "recovery"],
                callers=[ANY],
                proposers=[ANY],
            )
        ],
        note=PERMISSIVE_NOTE,
    )

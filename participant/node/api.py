"""The values that go into a node and come out of it.

Parties are counted from 0 here and on every surface; evaluation points (index + 1) stay inside. Times are seconds since
1970 unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from participant.callers import Caller
from participant.committee import Committee
from participant.payloads import ED25519_KEY_BYTES, Bip340, Payload
from participant.store import Finding
from participant.store.seals import Slot


class AccountStatus(StrEnum):
    """What an account can do on this node."""

    ACTIVE = "active"
    NEEDS_AUX = "needs-aux"
    """There is a share, but its committee has made no auxiliary information since."""
    FROZEN = "frozen"
    DAMAGED = "damaged"
    """The stored share does not open or contradicts its record; this node does not use it."""
    DELETING = "deleting"
    """Its secrets are erased after a time of grace."""
    NEEDS_REFRESH = "needs-refresh"
    """The share is too old, or came from a backup."""
    PENDING = "pending"
    """Key generation ran, its certificate is not complete yet. Nothing but id, committee and curve is known."""


@dataclass(frozen=True)
class AccountView:
    """What is public about an account, and this node's place in it."""

    account_id: str
    curve: str
    threshold: int
    parties: int
    committee_id: bytes
    key_id: bytes
    public_key: bytes
    """33 bytes compressed SEC1; empty while pending."""
    addresses: Mapping[str, str]
    """Text by kind ("ethereum", "bitcoin-p2wpkh", ...), of the root key."""
    share_epoch: bytes
    aux_id: bytes | None
    index: int
    status: AccountStatus
    created_at: int
    last_signed_at: int | None


@dataclass(frozen=True)
class PublicKeyView:
    """The key at a path of soft indices."""

    account_id: str
    path: str
    """As normalised: "m", "m/0/5"."""
    curve: str
    public_key: bytes
    addresses: Mapping[str, str]


@dataclass(frozen=True)
class AuxView:
    """The outcome of an aux run."""

    committee_id: bytes
    aux_id: bytes
    account_ids: tuple[str, ...]
    """Accounts that use it from now on."""


@dataclass(frozen=True)
class RefreshView:
    """The outcome of a refresh: the accounts with their new epochs."""

    committee_id: bytes
    accounts: tuple[AccountView, ...]


@dataclass(frozen=True)
class ReshareView:
    """An account on its way to another committee, or there; indices are those of each committee."""

    request_id: bytes
    account_id: str
    old_committee_id: bytes
    new_committee_id: bytes
    threshold: int
    new_threshold: int
    dealers: tuple[int, ...]
    withdrawn: bool
    """The operator took its approval back."""
    certified: bool
    """All new holders have their shares: the account is the new committee's."""
    deletions_due: int
    """How many old holders have to destroy their shares before the old committee cannot sign any more."""
    deleted: tuple[int, ...]
    """Old holders that signed that they did."""
    not_deleted: tuple[int, ...]
    absent: str
    """Parties that cannot be heard, while they are needed."""

    @property
    def old_can_sign(self) -> bool:
        """Whether enough old shares may be left for a signature."""
        return len(self.deleted) < self.deletions_due

    @property
    def complete(self) -> bool:
        """Whether the account is the new committee's, and nobody else's any more."""
        return self.certified and not self.old_can_sign

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.withdrawn and not self.certified:
            return "withdrawn"
        if not self.certified:
            return "approved here" + (f"; not heard: {self.absent}" if self.absent else "")
        if self.old_can_sign:
            names = ", ".join(map(str, self.not_deleted))
            return (
                f"the new committee has the account, and the old committee can still sign: {len(self.deleted)} of "
                f"{self.deletions_due} signed deletions are here, none of old index {names}"
            )
        return "complete: the old committee cannot sign any more"


@dataclass(frozen=True)
class PrimePool:
    """Safe primes found beforehand; an aux run takes four."""

    available: int
    target: int
    searching: bool


@dataclass(frozen=True)
class StockEntry:
    """Presignatures of one account for one signer set and owner, in this node's memory."""

    signers: tuple[int, ...]
    owner: int
    fresh: int
    promised: int
    target: int
    oldest_seconds: float
    bip340: bool = False
    """Nonce pairs for BIP-340 signatures of a secp256k1 account."""


@dataclass(frozen=True)
class StockView:
    """The stock of one account."""

    account_id: str
    entries: tuple[StockEntry, ...]


@dataclass(frozen=True)
class ExtendedKeyView:
    """An account's extended public key at a path of soft indices."""

    account_id: str
    path: str
    extended_key: str = field(repr=False)
    """BIP-32's text: whoever has it finds every address below."""
    addresses: Mapping[str, str]
    """Of the key at the path."""


@dataclass(frozen=True)
class DeletionView:
    """An account that is to be erased, or was."""

    account_id: str
    key_id: bytes
    erase_at: int
    erased: bool
    approved_by: tuple[int, ...]
    """Empty once it is erased."""


@dataclass(frozen=True)
class SealsView:
    """What opens the store, and the numbers of its data keys: two while a renewal is unfinished."""

    slots: tuple[Slot, ...]
    data_keys: tuple[int, ...]


@dataclass(frozen=True)
class RecoveryView:
    """Lost shares on their way back to their place; indices count from 0, as everywhere outside."""

    request_id: bytes
    old_committee_id: bytes
    new_committee_id: bytes
    lost: int
    identity: bytes
    """That the place gets."""
    helpers: tuple[int, ...]
    account_ids: tuple[str, ...]
    back: tuple[str, ...]
    """Accounts whose share this node lost and has again; they sign nothing yet."""
    settled: tuple[str, ...]
    """Accounts of which all members have new shares."""
    withdrawn: bool
    complete: bool
    absent: str
    """Parties that cannot be heard, while they are needed."""

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.complete:
            return "complete: all members have new shares"
        if self.withdrawn:
            return "withdrawn"
        done = f"; {len(self.back)} of {len(self.account_ids)} shares are back here" if self.back else ""
        return "approved here" + done + (f"; not heard: {self.absent}" if self.absent else "")


Result = AccountView | AuxView | RefreshView | ReshareView | RecoveryView | PrimePool | StockView


@dataclass(frozen=True)
class Progress:
    """One step of an operation that takes longer than a second. The last item of an operation carries `result`."""

    stage: str
    """The operation at hand: "waiting", "primes", "aux", "keygen", "refresh", "presign"."""
    done: int
    total: int
    """Of the whole operation; 0 = not known."""
    phase: str = ""
    """The step within the stage, such as "round 2"."""
    text: str = ""
    """One line for people."""
    session_id: bytes | None = None
    waiting_for: tuple[int, ...] = ()
    elapsed: float = 0.0
    """Seconds since the operation began."""
    result: Result | None = None


@dataclass(frozen=True)
class SignCall:
    """A request to sign."""

    request_id: bytes
    """16 bytes. The same id with the same content gives the same signature, with another content REQUEST_CONFLICT."""
    account_id: str
    payload: Payload
    path: str = "m"
    """"m/0/5"; "" and "m" are the root. Without meaning for a PSBT, whose inputs name their own."""
    signers: tuple[int, ...] | None = None
    """Exactly threshold indices, this node's among them; None lets the node choose from those who are there."""
    caller: Caller | None = None


@dataclass(frozen=True)
class SignedDigest:
    """One ECDSA signature; r and s are integers, s is low, v is the recovery id (0 to 3).

    Of Ed25519 r and s are the halves of the 64 bytes, read as they stand (big-endian), v is 0, and `digest` is the SHA-256
    of the message, which names it: what is signed is the message itself. The same of BIP-340, whose `digest` is what is
    signed; `public_key` is the key at the path, which signs with an even y and, for a Taproot output, tweaked.
    """

    digest: bytes
    path: str
    public_key: bytes
    r: int
    s: int
    v: int
    signers: tuple[int, ...]
    from_stock: bool
    input_index: int | None = None
    """The input of a PSBT."""
    session_id: bytes = b""
    bip340: Bip340 | None = None


@dataclass(frozen=True)
class SignResult:
    """A finished request. For a PSBT the fields of a single signature are those of its first input; see `signed`."""

    request_id: bytes
    account_id: str
    path: str
    r: int
    s: int
    v: int
    digest: bytes
    public_key: bytes
    addresses: Mapping[str, str]
    signers: tuple[int, ...]
    signed: tuple[SignedDigest, ...]
    raw_transaction: bytes | None = None
    psbt: bytes | None = None

    @property
    def signature(self) -> bytes:
        """The 65 bytes r || s || v; the 64 bytes of RFC 8032 or BIP-340."""
        halves = self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big")
        whole = self.signed[0].bip340 is not None or len(self.public_key) == ED25519_KEY_BYTES
        return halves if whole else halves + bytes([self.v])


class Chain(StrEnum):
    """The chains of wallet-mpc's wire."""

    ETHEREUM = "ethereum"
    BITCOIN = "bitcoin"


@dataclass(frozen=True)
class AskCall:
    """wallet-mpc's way of asking: every participant gets the same one."""

    tx_id: int
    """Signed 32 bits; collides, so it only names the room."""
    execution_id: bytes
    """16 bytes, which tell sessions apart and serve as the request id."""
    chain: Chain
    data: bytes
    """The 32-byte prehash."""
    account_id: str
    caller: Caller | None = None


@dataclass(frozen=True)
class SessionView:
    """A session that is under way, or was lately."""

    session_id: bytes | None
    """None until the parties have agreed."""
    proposal: bytes
    """32 bytes, the hash of the proposal."""
    kind: str
    committee_id: bytes
    account_id: str | None
    request_id: bytes
    initiator: int
    parties: tuple[int, ...]
    phase: str
    waiting_for: tuple[int, ...]
    started_at: float
    outcome: str = ""
    """Empty while it runs; then "done" or why it ended."""


@dataclass(frozen=True)
class PeerView:
    """A member of a committee as this node sees it."""

    index: int
    identity: bytes
    own: bool
    online: bool
    last_seen: float | None
    """Seconds since its last hello; None when there was none."""
    version: str
    quarantined: bool
    problem: str
    """What is wrong with it, for an operator; empty when nothing is."""


@dataclass(frozen=True)
class CommitteeView:
    """A committee and its members, by index."""

    committee: Committee
    index: int
    """This node's own."""
    aux_id: bytes | None
    members: tuple[PeerView, ...]
    is_left: bool = False
    """Whether its accounts are all elsewhere, and the settings do not name it."""


@dataclass(frozen=True)
class QuarantineView:
    """A mark on a peer that holds until an operator clears it."""

    number: int
    identity: bytes
    committee_id: bytes
    index: int | None
    aux_id: bytes | None
    reason: str
    evidence_id: bytes | None
    since: int


@dataclass(frozen=True)
class BlockedSetView:
    """A signer set in which somebody cheated, and it is not known yet who; this node does not work in it."""

    session_id: bytes
    """Of the presigning run."""
    committee_id: bytes
    signers: tuple[int, ...]
    lacking: tuple[int, ...]
    """Whose proofs are not here."""
    reason: str
    since: int


@dataclass(frozen=True)
class ImportedShare:
    """What became of one account of a share file."""

    account_id: str
    imported: bool
    text: str
    """Why not, or what is to be done next."""
    account: AccountView | None


@dataclass(frozen=True)
class StoreReport:
    """What `check_store` found."""

    findings: tuple[Finding, ...]
    accounts: int
    audit_records: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(frozen=True)
class StatusView:
    """The node at a glance."""

    ready: bool
    version: str
    identity: bytes
    uptime: float
    gateway_url: str
    gateway_connected: bool
    accounts: int
    sessions: int
    primes: PrimePool
    committees: tuple[CommitteeView, ...]
    warnings: tuple[str, ...]
    """One line for each thing that an operator should look at."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Messages that were ignored, by reason ("stranger", "foreign", "malformed", ...)."""

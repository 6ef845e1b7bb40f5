"""What a node offers.

Every method raises `participant.node.errors.NodeFailure` and nothing else on purpose. A caller of None is this node's
operator, or the node itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from participant.callers import Caller
from participant.committee import Committee
from participant.node.api import (
    AccountView,
    AskCall,
    BlockedSetView,
    CommitteeView,
    DeletionView,
    ExtendedKeyView,
    ImportedShare,
    PeerView,
    PrimePool,
    Progress,
    PublicKeyView,
    QuarantineView,
    RecoveryView,
    ReshareView,
    SealsView,
    SessionView,
    SignCall,
    SignResult,
    StatusView,
    StockView,
    StoreReport,
)
from participant.sharefile import ShareEntry


class NodeApi(Protocol):
    """A node, as services and command lines use it. All methods belong to the event loop that `start` ran in.

    `participant.node.Node` is it: Node(config, store, channel, policy). It neither opens nor closes store and channel.
    """

    async def start(self) -> None:
        """Join the committees' rooms and begin the background work. Returns at once; `status().ready` tells the rest."""

    async def stop(self) -> None:
        """End all sessions and background work. Idempotent."""

    # Accounts

    def create_account(
        self,
        account_id: str,
        *,
        curve: str = "secp256k1",
        threshold: int | None = None,
        committee_id: bytes | None = None,
        caller: Caller | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """Generate a key; auxiliary information first when the committee has none. The last item carries AccountView.

        `threshold` None is the committee's; `committee_id` None is the node's only one.
        """

    def accounts(
        self, committee_id: bytes | None = None, caller: Caller | None = None
    ) -> Sequence[AccountView]:
        """The accounts that the caller may read, sorted by id as bytes, pending ones included."""

    def account(self, account_id: str, caller: Caller | None = None) -> AccountView:
        """Raises AccountUnknown."""

    def public_key(self, account_id: str, path: str = "m", caller: Caller | None = None) -> PublicKeyView:
        """The key at `path` and its addresses. Raises AccountUnknown, HardenedPathRequested."""

    def freeze(self, account_id: str, reason: str = "") -> AccountView:
        """Let this node sign no more with the account."""

    def unfreeze(self, account_id: str) -> AccountView:
        """The opposite of `freeze`."""

    async def extended_key(
        self, account_id: str, path: str = "m", *, testnet: bool = False
    ) -> ExtendedKeyView:
        """The extended public key at `path`. Raises AccountUnknown, HardenedPathRequested, InvalidRequest for Ed25519."""

    async def approve_deletion(self, account_id: str, reason: str = "") -> bytes:
        """This node's signed word for deleting an account."""

    async def delete_account(self, account_id: str, approvals: Sequence[bytes]) -> DeletionView:
        """With t members' words: sign no more with the account, and erase it after the time of grace."""

    async def cancel_deletion(self, account_id: str) -> AccountView:
        """Call a deletion off before it is done."""

    async def deletions(self) -> Sequence[DeletionView]:
        """All deletions, those that are done included."""

    async def import_share(
        self, entries: Iterable[ShareEntry], committee_id: bytes | None = None
    ) -> tuple[ImportedShare, ...]:
        """Take checked shares of a file; an account that is there already stays as it is."""

    async def export_shares(self, account_ids: Sequence[str] = ()) -> tuple[ShareEntry, ...]:
        """This node's shares, secrets included, for a share file; all of them when none is named."""

    # Signing

    async def sign(self, call: SignCall) -> SignResult:
        """Have a payload signed: by presignatures of the stock where there are some, else from nothing."""

    async def sign_tx(self, call: AskCall) -> SignResult:
        """Sign with those who were asked the same. The result's v is 0 for Bitcoin, as that wire has it."""

    # Stock

    def stock(self, account_id: str | None = None, caller: Caller | None = None) -> Sequence[StockView]:
        """The presignatures in memory, of one account or all."""

    def fill_stock(
        self, account_id: str, signers: tuple[int, ...] | None = None, count: int = 0
    ) -> AsyncGenerator[Progress, None]:
        """Make `count` more presignatures (0: up to the target) for a signer set; the last item carries StockView."""

    def drop_stock(self, account_id: str | None = None) -> int:
        """Destroy the presignatures of an account, or all; how many."""

    # Ceremonies and primes

    def run_aux(
        self,
        committee_id: bytes | None = None,
        account_ids: Sequence[str] = (),
        caller: Caller | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """Make new auxiliary information, to which `account_ids` move and those that have none; carries AuxView."""

    def refresh_accounts(
        self,
        committee_id: bytes | None = None,
        account_ids: Sequence[str] = (),
        caller: Caller | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """New shares of the same keys, for `account_ids` or for all; carries RefreshView.

        Accounts that need auxiliary information get a new set, too. Signing goes on meanwhile.
        """

    async def reshare_request(
        self,
        account_id: str,
        committee: Committee,
        threshold: int | None = None,
        dealers: Sequence[int] | None = None,
    ) -> tuple[str, bytes]:
        """The request file that all operators approve before the account goes to `committee`, and its id.

        `dealers`: indices of the old committee, all of it unless named; `threshold`: the new committee's unless named.
        """

    async def approve(self, text: str) -> ReshareView:
        """Approve a request file on the operator's word. Raises InvalidRequest when it is not so by this node's records."""

    async def withdraw_approval(self, request_id: bytes) -> None:
        """Take an approval back, while the accounts are where they were; a share that came back is erased."""

    def reshare(self, request_id: bytes, caller: Caller | None = None) -> AsyncGenerator[Progress, None]:
        """Run an approved request, or see the rest of it done; carries ReshareView."""

    async def resharings(self) -> Sequence[ReshareView]:
        """All that were approved here, oldest first."""

    async def recover_request(
        self,
        index: int,
        committee: Committee,
        helpers: Sequence[int] | None = None,
        account_ids: Sequence[str] = (),
    ) -> tuple[str, bytes]:
        """The request file that operators approve before the shares lost at `index` come back there, and its id.

        `committee`: with the identity that the place gets, else as before; `helpers`: t indices, the lowest unless named.
        """

    async def approve_recovery(
        self, text: str, public_keys: Mapping[str, bytes] | None = None
    ) -> RecoveryView:
        """Approve a request file on the operator's word. `public_keys`: as the operator knows them.

        Raises InvalidRequest when it is not so, or not what this node's records say.
        """

    def recover(self, request_id: bytes, caller: Caller | None = None) -> AsyncGenerator[Progress, None]:
        """Run an approved request to its end, on a helper or at the lost place; carries RecoveryView."""

    async def recoveries(self) -> Sequence[RecoveryView]:
        """All that were approved here, oldest first."""

    def fill_primes(self, count: int = 0) -> AsyncGenerator[Progress, None]:
        """Search safe primes until the pool holds `count` (0: its target); the last item carries PrimePool."""

    # Sessions, peers, quarantine, store

    def sessions(self, *, ended: bool = False) -> Sequence[SessionView]:
        """The sessions that are under way, newest first; with `ended` also those of late."""

    async def abort_session(
        self, session_id: bytes | None = None, request_id: bytes | None = None, reason: str = ""
    ) -> SessionView | None:
        """End one session, named by its id, its proposal's hash or its request; the view of it, None when it had ended.

        Raises SessionUnknown.
        """

    def committees(self) -> Sequence[CommitteeView]:
        """All committees with their members' presence."""

    async def add_committee(self, committee: Committee) -> CommitteeView:
        """Join a committee, now and at every later start. Raises InvalidRequest when this node is no member."""

    def peers(self, committee_id: bytes | None = None) -> Sequence[PeerView]:
        """The members of one committee, by index."""

    def quarantine(self, committee_id: bytes | None = None) -> Sequence[QuarantineView]:
        """The marks in force."""

    def clear_quarantine(self, identity: bytes, by: str, reason: str = "") -> int:
        """Lift all marks on a peer on an operator's word; how many there were."""

    def blocked_sets(self, committee_id: bytes | None = None) -> Sequence[BlockedSetView]:
        """The signer sets that do not work together, oldest first."""

    def clear_blocked_set(self, session_id: bytes, by: str, reason: str = "") -> bool:
        """Let a signer set work again on an operator's word; whether it was blocked."""

    def evidence_ids(self) -> Sequence[bytes]:
        """All evidence in the store, oldest first."""

    def evidence(self, evidence_id: bytes) -> bytes | None:
        """One evidence file, which holds no secret; None when there is none of this id."""

    async def check_store(self, *, deep: bool = False) -> StoreReport:
        """Look at the whole store; `deep` also recomputes every share's public record."""

    async def make_backup(
        self, recovery_keys: Sequence[str], quorum: int, committee_id: bytes | None = None
    ) -> bytes:
        """The file of this node's backup, for a quorum of public recovery keys (as text)."""

    async def seals(self) -> SealsView:
        """What opens the store."""

    async def add_seal(self, seal_file: Path, *, make_token_key: bool = False) -> SealsView:
        """Let another outer key open the store, too."""

    async def remove_seal(self, number: int) -> SealsView:
        """Let an outer key open the store no more."""

    async def renew_data_key(self) -> int:
        """Seal everything under a new data key, while the node works; how many values."""

    def primes(self) -> PrimePool:
        """The pool of safe primes."""

    def status(self) -> StatusView:
        """Everything at a glance."""

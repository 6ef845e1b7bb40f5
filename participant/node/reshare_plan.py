"""From a proposal to reshare to this node's seats in it: compared with what its operator approved, and with its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from participant.node.gathering import Gathering
from participant.node.plan import Decline, Declined, Program
from participant.node.records import Account, Records
from participant.node.refresh_plan import still_in_force, touched
from participant.node.requests import reshare_requests
from participant.reshare_request import ReshareRequest
from participant.store import AccountState, Store
from tss.cggmp24 import reshare
from tss.cggmp24.reshare import DEALER, NEW, Terms
from tss.encoding import encode
from tss.envelope import PartyId
from tss.params import Suite
from tss.proposal import Proposal

TakePrimes = Callable[[int], tuple[int, int, int, int]]

HOW_TO_APPROVE: Final = "its operator has to approve the request (mpc-keygen approve FILE)"


@dataclass(frozen=True)
class Seat:
    """One of this node's places in the session."""

    party: PartyId
    program: Program
    check_base: Callable[[], None]


class ResharePlanner:
    """Blocking, for worker threads."""

    def __init__(self, store: Store, records: Records, take_primes: TakePrimes) -> None:
        self._store = store
        self._records = records
        self._requests = reshare_requests(store, records.suites)
        self._take_primes = take_primes

    def seats(self, gathering: Gathering, suite: Suite, proposal: Proposal) -> list[Seat]:
        """This node's, the new holder's first. Raises Declined, KeyShareNotFound, ShareCorrupt."""
        request = self._approved(gathering)
        same = (request.account_id, request.suite) == (proposal.account_id, suite)
        if not same or encode(request.terms.tail()) != encode(proposal.tail):
            raise Declined(
                Decline.RECORDS_DIFFER,
                "the proposal is not what this node's operator approved: account, key, threshold or dealers differ",
            )
        if self._store.resharings.certificate(request.request_id) is not None:
            raise Declined(
                Decline.RECORDS_DIFFER,
                f"account {request.account_id!r} has gone to the other committee already",
            )
        own = sorted(gathering.own_seats, key=lambda party: party.role != NEW)
        return [self._seat(party, request) for party in own]

    def _approved(self, gathering: Gathering) -> ReshareRequest:
        approval = self._store.approvals.get(gathering.request_id)
        request = self._requests.get(gathering.request_id)
        if approval is None or request is None or not approval.is_open:
            raise Declined(Decline.NOT_APPROVED, f"this node takes no part: {HOW_TO_APPROVE}")
        return request

    def _seat(self, party: PartyId, request: ReshareRequest) -> Seat:
        if party.role == DEALER:
            account = self.dealt(request)
            program: Program = partial(reshare.deal, terms=request.terms, share=account.share)
            return Seat(party, program, partial(still_in_force, self._store, [account]))
        self.check_place(request)
        suite = request.suite
        take = partial(self._take_primes, suite.level.pb) if suite.has_aux else None
        return Seat(party, partial(reshare.hold, terms=request.terms, take_primes=take), lambda: None)

    def dealt(self, request: ReshareRequest) -> Account:
        """The account, when it is what the request says, as a dealer has it. Raises Declined, KeyShareNotFound, ShareCorrupt."""
        account = self._records.account(request.account_id)
        name = f"account {request.account_id!r}"
        if account.record.committee_id != request.old.committee_id:
            raise Declined(Decline.OTHER_COMMITTEE, f"{name} is not of the committee that the request names")
        if account.record.state is AccountState.DELETING:
            raise Declined(Decline.ACCOUNT_DELETED, f"{name} is being deleted on this node")
        check_terms(request, account)
        for pending in self._store.sessions.pendings():
            if request.account_id in touched(pending) and not pending.voided and pending.kind != reshare.KIND:
                raise Declined(
                    Decline.PENDING,
                    f"a run ({pending.kind}) for {name} waits for its certificate on this node",
                )
        for other in self._requests.open():
            if self._is_unfinished(other, request):
                raise Declined(
                    Decline.PENDING,
                    f"{name} is on its way to committee {other.new.committee_id.hex()}: bring that to its end, or have "
                    "all operators withdraw it (mpc-keygen approve --withdraw)",
                )
        return account

    def _is_unfinished(self, other: ReshareRequest, request: ReshareRequest) -> bool:
        resharings = self._store.resharings
        return (
            other.request_id != request.request_id
            and other.terms.key_id == request.terms.key_id
            and bool(resharings.runs(other.request_id))
            and resharings.certificate(other.request_id) is None
        )

    def check_place(self, request: ReshareRequest) -> None:
        """Whether a new holder has room for the account. Raises Declined."""
        account_id = request.account_id
        if not self._store.accounts.has_account(account_id):
            return
        record = self._store.accounts.account(account_id)
        if record.public_key != request.terms.X.to_bytes():
            raise Declined(Decline.ACCOUNT_EXISTS, f"this node has another account {account_id!r}")
        if (record.key_id, record.committee_id) != (request.terms.key_id, request.old.committee_id):
            raise Declined(
                Decline.RECORDS_DIFFER, f"this node's account {account_id!r} is of another committee"
            )


def check_terms(request: ReshareRequest, account: Account) -> None:
    """Raise Declined unless the request says of the account what a dealer's own record says."""
    terms, share = request.terms, account.share
    pairs: dict[str, tuple[object, object]] = {
        "public key": (terms.X, share.X),
        "key_id": (terms.key_id, share.key_id),
        "hash of the chain code": (terms.c_hash, share.c_hash),
        "threshold": (terms.t, share.t),
        "share epoch (it was refreshed since: make a new request)": (terms.share_epoch, share.share_epoch),
    }
    own = Terms.of(share, list(terms.dealers), terms.new_t, terms.committee_id)
    pairs["public shares of the dealers"] = (terms.dealers, own.dealers)
    for what, (asked, known) in pairs.items():
        if asked != known:
            raise Declined(
                Decline.RECORDS_DIFFER,
                f"the request's {what} is not what this node has of account {request.account_id!r}",
            )

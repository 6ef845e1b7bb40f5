from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cggmp24_testing import dealt_presignature
from node_testing import aux_sets, committee_of, deal, new_store, node_keys
from tss_testing import TINY

from participant.node.candidates import Candidates, first_open, signer_sets
from participant.node.config import StockSettings
from participant.node.errors import (
    GatewayUnreachable,
    InvalidRequest,
    NotASigner,
    PeerQuarantined,
    PolicyRefused,
    SignerSetBlocked,
    ThresholdNotMet,
)
from participant.node.hello import account_tag
from participant.node.membership import Membership
from participant.node.stock import Stock
from participant.store import NewAux, NewShare, Origin, Store
from tss.cggmp24.presignature import Presignature
from tss.envelope import PartyId, holder

CID = committee_of().committee_id
AUX = aux_sets(TINY)[0]


class Hall:
    """Who is there, as a test says."""

    def __init__(self) -> None:
        self.present = {2, 3}
        self.quiet: set[int] = set()
        self.holding = {2, 3}
        self.tags: set[bytes] = set()
        self.own_tags: frozenset[bytes] | None = None

    def is_present(self, party: PartyId) -> bool:
        return party.index in self.present

    def is_quiet(self, party: PartyId) -> bool:
        return party.index in self.quiet

    def holds(self, party: PartyId, tag: bytes) -> bool:
        self.tags.add(tag)
        return party.index in self.holding

    def problem(self, party: PartyId) -> str:
        return "no hello of it was ever heard" if party.index == 3 else ""


class World:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.shares = deal(TINY)
        store.accounts.put_aux(CID, NewAux.of(AUX))
        store.accounts.add(NewShare.of("alice", self.shares[0]), CID, Origin.KEYGEN)
        self.record = store.accounts.account("alice")
        self.stock = Stock(StockSettings())
        self.hall = Hall()
        self.membership = Membership(committee_of(), holder(1), node_keys()[0].sign, frozenset())
        self.membership.presence = self.hall  # type: ignore[assignment]

    def candidates(self, wanted: tuple[int, ...] | None = None) -> Candidates:
        return Candidates(self.membership, self.record, self.store, self.stock, wanted)

    def add_stock(self, signers: tuple[int, ...], count: int) -> None:
        for number in range(count):
            by_party = {share.me: share for share in self.shares}
            made = dealt_presignature(by_party, signers, 1, seed=(signers, number))[1]
            public = replace(made.public, aux_id=AUX.aux_id)
            self.stock.add("alice", CID, [Presignature(TINY, 1, public, 1, 1)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_store(tmp_path) as store:
        yield World(store)


def test_those_behind_oneself_come_first(world):
    assert world.candidates().choose() == (1, 2)
    world.hall.present = {3}
    assert world.candidates().choose() == (1, 3)
    world.hall.present = set()
    assert world.candidates().choose() is None


def test_presence_is_asked_about_the_accounts_present_pair(world):
    world.candidates().choose()
    record = world.record
    assert world.hall.tags == {account_tag(CID, "alice", record.share_epoch, record.aux_id)}


def test_an_account_is_looked_up_again_once_for_every_hello_that_does_not_name_it(world):
    candidates = world.candidates()
    assert not candidates.outdated()
    world.hall.own_tags = frozenset([bytes(32)])
    assert candidates.outdated()
    candidates.renew(world.record)
    assert not candidates.outdated()
    record = world.record
    world.hall.own_tags = frozenset([account_tag(CID, "alice", record.share_epoch, record.aux_id)])
    assert not candidates.outdated()
    newer = replace(record, share_epoch=bytes(32))
    candidates.renew(newer)
    candidates.choose()
    assert account_tag(CID, "alice", newer.share_epoch, newer.aux_id) in world.hall.tags
    world.hall.own_tags = frozenset()
    assert candidates.outdated()


def test_where_there_is_stock_its_signers_are_taken(world):
    world.add_stock((1, 3), 1)
    assert world.candidates().choose() == (1, 3)
    world.add_stock((1, 2), 2)
    assert world.candidates().choose() == (1, 2), "where there is most"
    world.hall.present = {3}
    assert world.candidates().choose() == (1, 3)


def test_the_callers_choice_holds(world):
    assert world.candidates((0, 2)).choose() == (1, 3)
    assert world.candidates((2, 0)).choose() == (1, 3)
    world.hall.present = {2}
    assert world.candidates((0, 2)).choose() is None


@pytest.mark.parametrize("wanted", [(0,), (0, 1, 2), (0, 0), (0, 3), (0, -1), ()])
def test_a_choice_that_cannot_sign_is_refused(world, wanted):
    with pytest.raises(InvalidRequest, match="signers"):
        world.candidates(wanted)


def test_a_choice_without_this_node_is_for_another_to_serve(world):
    with pytest.raises(NotASigner, match=r"index 0.* is not among the signers"):
        world.candidates((1, 2))


def test_every_reason_has_its_words(world):
    def why(point: int = 2) -> str | None:
        return world.candidates().problem(holder(point))

    assert why() is None
    world.hall.holding = {3}
    assert "no share of the account" in (why() or "")
    world.hall.quiet = {2}
    assert "did not answer" in (why() or "")
    world.hall.present = set()
    assert why() == "away"
    assert why(3) == "no hello of it was ever heard"
    world.store.quarantine.add(committee_of().identities[1], CID, "a failed proof")
    assert "quarantine" in (why() or "")


def test_who_is_excluded_stays_out_for_this_request_only(world):
    candidates = world.candidates()
    candidates.exclude(holder(2), "NO_RULE", "refuses: no rule")
    assert candidates.choose() == (1, 3)
    assert candidates.problem(holder(2)) == "refuses: no rule"
    assert world.candidates().choose() == (1, 2)
    assert not candidates.hopeless()
    candidates.exclude(holder(3), "NO_RULE", "refuses: no rule")
    assert candidates.hopeless()


def test_a_named_signer_that_is_out_makes_it_hopeless(world):
    candidates = world.candidates((0, 1))
    candidates.exclude(holder(3), "BUSY", "busy")
    assert not candidates.hopeless()
    candidates.exclude(holder(2), "BUSY", "busy")
    assert candidates.hopeless()


def test_the_failure_names_everybody_who_is_missing(world):
    world.hall.present = set()
    failure = world.candidates().failure(True, "http://gateway")
    assert isinstance(failure, ThresholdNotMet)
    assert failure.missing == (1, 2)
    assert str(failure).startswith("Threshold not met: 2 signers are needed and 1 can sign now")
    assert "index 1: away; index 2: no hello of it was ever heard" in str(failure)
    named = world.candidates((0, 2)).failure(None, "http://gateway")
    assert isinstance(named, ThresholdNotMet)
    assert named.missing == (2,)


def test_a_gateway_that_is_away_is_the_reason(world):
    failure = world.candidates().failure(False, "http://gateway")
    assert isinstance(failure, GatewayUnreachable)
    assert str(failure).startswith("Connection refused: the gateway http://gateway")


def test_policies_are_the_reason_when_nothing_else_is(world):
    candidates = world.candidates()
    for point in (3, 2):
        candidates.exclude(holder(point), "RAW_DIGEST_NOT_ALLOWED", "refuses: no raw digests")
    failure = candidates.failure(True, "")
    assert isinstance(failure, PolicyRefused)
    assert failure.metadata == {"by": "1", "rule": "RAW_DIGEST_NOT_ALLOWED"}
    mixed = world.candidates()
    mixed.exclude(holder(2), "RAW_DIGEST_NOT_ALLOWED", "refuses: no raw digests")
    mixed.exclude(holder(3), "TIMEOUT", "did not answer in time")
    assert isinstance(mixed.failure(True, ""), ThresholdNotMet)


def test_signer_sets(world):
    assert signer_sets(world.membership, 2, 10) == [(1, 2), (1, 3)]
    assert signer_sets(world.membership, 3, 10) == [(1, 2, 3)]
    assert signer_sets(world.membership, 2, 2) is None


def block(world: World, *signers: int) -> None:
    sid = bytes([*signers, *bytes(32 - len(signers))])
    world.store.sessions.remember(sid, "presign", CID, sid)
    world.store.blocked.block(sid, CID, signers, b"", "failed delta")


def test_a_blocked_set_is_not_tried_and_its_members_sign_with_others(world):
    block(world, 1, 2)
    assert world.candidates().choose() == (1, 3)
    assert world.candidates().problem(holder(2)) is None
    world.add_stock((1, 2), 1)
    assert world.candidates().choose() == (1, 3)
    named = world.candidates((0, 1))
    assert named.choose() is None
    assert named.hopeless()
    failure = named.failure(True, "")
    assert isinstance(failure, SignerSetBlocked)
    assert failure.metadata["signers"] == "0, 1"
    block(world, 1, 3)
    assert world.candidates().hopeless()
    assert isinstance(world.candidates().failure(True, ""), SignerSetBlocked)
    world.hall.present = set()
    assert isinstance(world.candidates().failure(True, ""), ThresholdNotMet)


def test_one_that_refuses_because_of_another_is_named(world):
    named = world.candidates((0, 1))
    named.exclude_set((1, 2))
    named.exclude(holder(2), "QUARANTINED", "refuses: index 0 is in quarantine there")
    failure = named.failure(True, "")
    assert isinstance(failure, ThresholdNotMet)
    assert "is in quarantine there" in str(failure)


def test_a_set_that_is_out_for_this_request_only(world):
    candidates = world.candidates()
    candidates.exclude_set((1, 2))
    assert candidates.choose() == (1, 3)
    assert world.candidates().choose() == (1, 2)


def test_of_larger_sets_the_first_that_is_open():
    assert first_open(2, [3, 4, 5], 3, set()) == (2, 3, 4)
    assert first_open(2, [3, 4, 5], 3, {(2, 3, 4)}) == (2, 3, 5)
    assert first_open(2, [3, 4, 5], 3, {(2, 3, 4), (2, 3, 5), (2, 4, 5)}) is None
    assert first_open(2, [3], 3, set()) is None


@pytest.mark.attack("D8")
def test_who_is_in_quarantine_is_not_waited_for_and_named(world):
    world.store.quarantine.add(committee_of().identities[1], CID, "a bad signature")
    assert world.candidates().choose() == (1, 3)
    named = world.candidates((0, 1))
    assert named.hopeless(), "an operator decides, not time"
    failure = named.failure(True, "")
    assert isinstance(failure, PeerQuarantined)
    assert (failure.peers, failure.metadata["peers"]) == ((1,), "1")
    world.store.quarantine.add(committee_of().identities[2], CID, "a bad signature")
    assert isinstance(world.candidates().failure(True, ""), PeerQuarantined)

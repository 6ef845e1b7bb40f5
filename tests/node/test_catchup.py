"""Catching up: certificates are asked for, shown, completed and taken; and a store that is an older copy says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from node_testing import (
    aux_sets,
    aux_state,
    committee_of,
    deal,
    node_keys,
    share_state,
    sid_of,
    wrapper,
)
from tss_testing import TINY

from participant.node.catchup import REPEAT_SECONDS, CatchUp
from participant.node.hello import MAX_SIDS, Hello
from participant.node.membership import Membership
from participant.node.persistence import public_of
from participant.node.workers import Workers
from participant.store import Certificate, NewState, Store
from tss.cggmp24.completion import DONE_ROUND
from tss.encoding import encode
from tss.envelope import Body, Kind, PartyId, holder, pack, sign

KEYS = node_keys()
COMMITTEE = committee_of()
CID = COMMITTEE.committee_id
SID, DONE = sid_of(1), b"\xd0" * 32
SHARES = deal(TINY)
AUX = aux_sets(TINY)
HELLO = Hello(
    **{field.name: () for field in fields(Hello)}
    | {"version": "1", "boot": bytes(16), "number": 1, "time": 0, "aux_id": None, "tags": None}
)


def done(
    point: int, *, value: bytes = DONE, sid: bytes = SID, by: int | None = None, **changed: Any
) -> bytes:
    """A party's `done`, signed by it (or by another)."""
    body = {
        "proto": TINY.proto,
        "sid": sid,
        "round": DONE_ROUND,
        "kind": Kind.DONE,
        "sender": holder(point),
        "to": None,
    }
    signed = Body(**{**body, "payload": encode([None, value]), **changed})
    return pack(sign(signed, KEYS[(by or point) - 1].sign))


class Room:
    """What was posted."""

    def __init__(self) -> None:
        self.posted: list[bytes] = []

    def send(self, envelope: bytes, to: int | None = None) -> None:
        assert to is None, "a certificate is everybody's"
        self.posted.append(envelope)


class Seat:
    """The node at one point with a store of its own, and a clock that a test sets."""

    def __init__(self, directory: Path, point: int) -> None:
        self.point = point
        self.store = Store.create(directory / f"{point}.db", wrapper())
        self.store.accounts.put_committee(COMMITTEE)
        self.workers = Workers(1)
        self.activated: list[Certificate] = []
        self.time = 1000.0
        self.catchup = CatchUp(self.store, self.workers, self.activated.append, clock=lambda: self.time)
        self.membership = Membership(COMMITTEE, holder(point), KEYS[point - 1].sign, frozenset({TINY.proto}))
        self.room = Room()
        self.membership.room = self.room  # type: ignore[assignment]

    def keygen(self, sid: bytes = SID, account_id: str = "alice", *, done_value: bytes = DONE) -> None:
        """A key generation whose own `done` is durable."""
        self.pend(sid, share_state(account_id, SHARES[self.point - 1]), done_value=done_value)

    def pend(self, sid: bytes, state: NewState, *, done_value: bytes = DONE) -> None:
        self.store.sessions.remember(sid, "keygen", CID, bytes(32))
        own = done(self.point, value=done_value, sid=sid)
        self.store.sessions.put_pending(
            sid, "keygen", CID, state, public_of(TINY.proto, done_value), own, party=self.point
        )

    async def take(self, *envelopes: bytes, sid: bytes = SID) -> None:
        for envelope in envelopes:
            await self.catchup.take(self.membership, sid, envelope)

    async def hear(self, point: int = 2, **changed: Any) -> list[bytes]:
        """What is posted when a member's hello says this."""
        before = len(self.room.posted)
        await self.catchup.hear(self.membership, holder(point), replace(HELLO, **changed))
        return self.room.posted[before:]

    @property
    def said(self) -> set[int]:
        """Whose `done` the pending run has."""
        return set(self.store.sessions.pending(SID).done)

    def close(self) -> None:
        self.workers.close()
        self.store.close()


@pytest.fixture
def seat(tmp_path: Path) -> Iterator[Seat]:
    opened = Seat(tmp_path, 1)
    yield opened
    opened.close()


@pytest.fixture
def ahead(tmp_path: Path) -> Iterator[Seat]:
    """A member that has the certificate."""
    opened = Seat(tmp_path, 2)
    opened.keygen()
    opened.store.sessions.activate(SID, [done(point) for point in (1, 2, 3)])
    yield opened
    opened.close()


# -- taking ---------------------------------------------------------------------------------------------------------


async def test_the_last_done_activates(seat):
    seat.keygen()
    await seat.take(done(2))
    assert not seat.store.accounts.has_account("alice")
    assert seat.said == {1, 2}
    await seat.take(done(3))
    assert seat.store.accounts.share("alice") == SHARES[0].to_bytes()
    (certificate,) = seat.activated
    assert certificate.sid == SID
    assert set(certificate.envelopes) == {done(1), done(2), done(3)}
    assert seat.store.sessions.certificate(SID) == certificate
    assert seat.store.sessions.pending_sids() == []


async def test_what_is_taken_again_changes_nothing(seat):
    seat.keygen()
    await seat.take(done(2), done(2), done(3), done(3), done(2))
    assert len(seat.activated) == 1


async def test_an_aux_set_comes_into_force_in_the_same_way(seat):
    seat.pend(SID, aux_state(AUX[0]))
    await seat.take(done(3), done(2))
    assert seat.store.accounts.current_aux_id(CID) == AUX[0].aux_id


async def test_state_that_was_given_up_is_activated_all_the_same(seat):
    """A certificate is stronger than this node's having voided its state (protocol.md 0.8)."""
    seat.keygen()
    seat.store.sessions.void_pending(SID)
    await seat.take(done(2), done(3))
    assert seat.store.accounts.has_account("alice")


async def test_a_restart_between_two_messages_loses_neither(seat):
    seat.keygen()
    await seat.take(done(2))
    seat.store.close()
    seat.store = Store.open(seat.store.path, wrapper())
    seat.catchup = CatchUp(seat.store, seat.workers, seat.activated.append)
    await seat.take(done(3))
    assert seat.store.accounts.has_account("alice")


NOT_TAKEN = {
    "another value": done(2, value=b"\xd1" * 32),
    "another run": done(2, sid=sid_of(2)),
    "another round": done(2, round=DONE_ROUND - 1),
    "another kind": done(2, kind=Kind.MSG),
    "another protocol": done(2, proto="cggmp24-secp256k1/v1"),
    "not signed by its sender": done(2, by=3),
    "no payload": done(2, payload=b""),
    "an echo in it": done(2, payload=encode([[b"\x0e" * 32, []], DONE])),
    "no member": done(1, sender=holder(9), by=2),
    "another role": done(2, sender=PartyId("dealer", 2)),
    "to one party": done(2, to=holder(1)),
    "no envelope": b"\x06",
    "empty": b"",
}


@pytest.mark.parametrize("what", NOT_TAKEN)
async def test_what_does_not_belong_to_the_run_is_dropped(seat, what):
    seat.keygen()
    await seat.take(NOT_TAKEN[what])
    assert seat.said == {1}
    await seat.take(done(2), NOT_TAKEN[what], done(3))
    assert seat.store.accounts.has_account("alice"), "and does not keep the run from its end"


async def test_two_done_of_one_member_are_never_both_taken(seat, caplog):
    """The later one is signed as well: the first is kept, and the log says so."""
    seat.keygen()
    seat.store.sessions.add_done(SID, 2, done(2, value=b"\xd1" * 32))
    await seat.take(done(2))
    assert seat.store.sessions.pending(SID).done[2] == done(2, value=b"\xd1" * 32)
    assert "two different done envelopes" in caplog.text
    await seat.take(done(3))
    assert not seat.store.accounts.has_account("alice")
    assert not seat.activated


async def test_a_set_that_does_not_verify_activates_nothing(seat, caplog):
    seat.keygen()
    # As a manipulated store would have it: an envelope that nobody checked.
    seat.store.sessions.add_done(SID, 2, done(2, by=3))
    await seat.take(done(3))
    assert not seat.store.accounts.has_account("alice")
    assert "does not verify" in caplog.text
    assert seat.store.sessions.pending_sids() == [SID]


async def test_of_a_run_of_another_committee_nothing_is_taken(seat):
    seat.keygen()
    other = committee_of(2, 2, "other")
    seat.store.accounts.put_committee(other)
    membership = Membership(other, holder(1), KEYS[0].sign, frozenset({TINY.proto}))
    membership.identities = seat.membership.identities
    membership.room = seat.room
    await seat.catchup.take(membership, SID, done(2))
    assert seat.said == {1}
    await seat.catchup.hear(membership, holder(2), replace(HELLO, pending=(SID,)))
    assert seat.room.posted == []


async def test_a_certificate_that_cannot_be_stored_is_no_end_of_the_node(seat, caplog):
    seat.keygen()
    seat.store.close()
    await seat.take(done(2))
    assert "could not be stored" in caplog.text


async def test_a_run_that_is_complete_or_unknown_takes_nothing(seat, ahead):
    await seat.take(done(2))
    assert seat.store.sessions.pending_sids() == []
    before = ahead.store.sessions.certificate(SID)
    await ahead.take(done(3))
    assert ahead.store.sessions.certificate(SID) == before
    assert not ahead.activated


# -- showing --------------------------------------------------------------------------------------------------------


async def test_who_lacks_a_certificate_is_shown_it_byte_for_byte(seat, ahead):
    seat.keygen()
    posted = await ahead.hear(1, pending=(SID,))
    assert posted == [done(1), done(2), done(3)]
    await seat.take(*posted)
    assert seat.store.accounts.has_account("alice")


async def test_who_lacks_some_is_shown_what_there_is(seat):
    seat.keygen()
    await seat.take(done(3))
    assert await seat.hear(pending=(SID,)) == [done(1), done(3)]
    assert await seat.hear(pending=(sid_of(7),)) == []


async def test_the_same_run_is_shown_again_after_a_while_only(seat):
    seat.keygen()
    assert await seat.hear(2, pending=(SID,)) == [done(1)]
    assert await seat.hear(3, pending=(SID,)) == []
    seat.time += REPEAT_SECONDS - 0.01
    assert await seat.hear(2, pending=(SID,)) == []
    seat.time += 0.01
    assert await seat.hear(2, pending=(SID,)) == [done(1)]


async def test_at_the_start_and_after_a_loss_everything_pending_is_shown(seat):
    seat.keygen()
    seat.keygen(sid_of(2), "bob")
    for _ in range(2):
        seat.room.posted.clear()
        await seat.catchup.begin(seat.membership)
        assert seat.room.posted == [done(1), done(1, sid=sid_of(2))]


async def test_what_is_noted_of_others_wishes_is_bounded(seat):
    for number in range(8 * MAX_SIDS):
        await seat.hear(pending=(sid_of(number),))
    assert len(seat.catchup._said) == 4 * MAX_SIDS


# -- an older copy --------------------------------------------------------------------------------------------------


@pytest.mark.attack("D3")
@pytest.mark.fault(19)
async def test_a_store_that_does_not_know_what_it_took_part_in_says_so_once(seat, caplog):
    with caplog.at_level(logging.ERROR):
        assert await seat.hear(certificates=(SID, sid_of(2))) == []
    (record,) = caplog.records
    assert "index 1 holds certificates" in record.getMessage()
    assert SID.hex()[:16] in record.getMessage()
    assert "older copy" in record.getMessage()
    await seat.hear(certificates=(SID,))
    await seat.hear(certificates=(sid_of(3),))
    assert len(caplog.records) == 1, "whoever lies cannot fill the log"
    await seat.hear(3, certificates=(SID,))
    assert len(caplog.records) == 2


async def test_a_store_that_knows_the_runs_says_nothing(seat, caplog):
    seat.keygen()
    seat.keygen(sid_of(2), "bob")
    await seat.take(done(2), done(3))
    await seat.hear(certificates=(SID, sid_of(2)))
    assert not caplog.records


async def test_the_rollback_to_before_activation_is_made_good(tmp_path, seat, ahead):
    """The store of a pending run, put back after it was activated."""
    seat.keygen()
    seat.store.close()
    older = seat.store.path.read_bytes()
    seat.store = Store.open(seat.store.path, wrapper())
    seat.catchup = CatchUp(seat.store, seat.workers, seat.activated.append)
    await seat.take(done(2), done(3))
    share = seat.store.accounts.share("alice")
    seat.store.close()
    seat.store.path.write_bytes(older)
    seat.store = Store.open(seat.store.path, wrapper())
    seat.catchup = CatchUp(seat.store, seat.workers, seat.activated.append)
    assert not seat.store.accounts.has_account("alice")
    await seat.take(*await ahead.hear(1, pending=(SID,)))
    assert seat.store.accounts.share("alice") == share
    assert seat.store.check() == []

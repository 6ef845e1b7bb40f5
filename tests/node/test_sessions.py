from __future__ import annotations

import asyncio
import threading

import pytest
from driver_testing import WAIT, adding, outcome, seats
from memory_channel import Hub

from participant.node import sessions as module
from participant.node.errors import Busy, SessionUnknown
from participant.node.sessions import EARLY_BYTES, EARLY_EACH, EARLY_SCOPES, EarlyMail
from tss.errors import NoBlame


def scope(number: int) -> bytes:
    return number.to_bytes(32, "big")


class TestEarlyMail:
    def test_is_handed_over_once_in_its_order(self):
        mail = EarlyMail()
        assert all(mail.keep(scope(1), bytes([n])) for n in range(3))
        assert mail.keep(scope(2), b"other")
        assert mail.take(scope(1)) == [b"\0", b"\1", b"\2"]
        assert mail.take(scope(1)) == []
        assert mail.take(scope(2)) == [b"other"]

    def test_one_scope_holds_only_so_many(self):
        mail = EarlyMail()
        kept = [mail.keep(scope(1), bytes([n])) for n in range(EARLY_EACH + 2)]
        assert kept == [True] * EARLY_EACH + [False] * 2
        assert len(mail.take(scope(1))) == EARLY_EACH
        assert mail.keep(scope(1), b"room again")

    def test_copies_leave_room_for_what_is_new(self):
        mail = EarlyMail()
        assert all(mail.keep(scope(1), b"proposal") for _ in range(EARLY_EACH + 1))
        assert mail.keep(scope(1), b"acceptance")
        assert mail.take(scope(1)) == [b"proposal", b"acceptance"]

    def test_the_oldest_scope_goes_when_there_are_too_many(self):
        mail = EarlyMail()
        for number in range(EARLY_SCOPES + 2):
            assert mail.keep(scope(number), b"x")
        assert mail.take(scope(0)) == mail.take(scope(1)) == []
        assert mail.take(scope(2)) == mail.take(scope(EARLY_SCOPES + 1)) == [b"x"]

    def test_bytes_are_bounded_over_all_scopes(self):
        mail, size = EarlyMail(), EARLY_BYTES // 4
        for number in range(6):
            assert mail.keep(scope(number), bytes(size))
        assert [bool(mail.take(scope(number))) for number in range(6)] == [
            False,
            False,
            True,
            True,
            True,
            True,
        ]
        assert mail._size == 0

    def test_what_would_take_half_of_everything_is_not_kept(self):
        mail = EarlyMail()
        assert mail.keep(scope(1), b"x")
        assert not mail.keep(scope(2), bytes(EARLY_BYTES // 2 + 1))
        assert mail.take(scope(1)) == [b"x"]

    def test_refused_mail_leaves_nothing_behind(self):
        """However many scopes are named with envelopes that are too large, nothing is remembered of them."""
        mail = EarlyMail()
        assert mail.keep(scope(0), b"x")
        for number in range(1, EARLY_SCOPES + 2):
            assert not mail.keep(scope(number), bytes(EARLY_BYTES // 2 + 1))
        assert mail.take(scope(0)) == [b"x"]
        assert not mail._by_scope


async def test_a_session_is_reached_by_both_of_its_names(tmp_path):
    async with seats(tmp_path) as all_:
        release = threading.Event()
        drivers = [all_[0].open(1, adding(1, lambda: int(release.wait(WAIT)) - 1))]
        drivers += [seat.open(1, adding(seat.point)) for seat in all_[1:]]
        first, sessions = drivers[0], all_[0].sessions
        assert await first.changes.wait_for(lambda: first.sid is not None, WAIT)
        request = first.plan.proposal.request_id
        assert sessions.find(first.sid, None) == [first]
        assert sessions.find(first.plan.ph, None) == [first]
        assert sessions.find(None, request) == [first]
        with pytest.raises(SessionUnknown, match="no session 0000"):
            sessions.find(bytes(32), None)
        release.set()
        assert await outcome(first) == 6
        assert sessions.find(first.sid, None) == [], "it has ended, but it is known"
        assert sessions.find(None, request) == []


async def test_there_are_only_so_many_at_a_time(tmp_path):
    async with seats(tmp_path, max_sessions=2) as all_:
        drivers = [all_[0].open(number, adding(1)) for number in range(2)]
        with pytest.raises(Busy, match="2 sessions under way"):
            all_[0].open(2, adding(1))
        drivers[0].abort(NoBlame("enough"))
        with pytest.raises(NoBlame):
            await outcome(drivers[0])
        all_[0].open(2, adding(1))


async def test_late_mail_of_a_session_that_is_over_or_was_declined_is_dropped(tmp_path):
    async with seats(tmp_path) as all_:
        sessions = all_[0].sessions
        sessions.deliver(scope(1), b"early")
        sessions.forget(scope(1))
        sessions.deliver(scope(1), b"late")
        assert sessions.dropped == {"late": 1}
        assert sessions._early.take(scope(1)) == []
        assert sessions.is_known(scope(1))
        assert sessions.is_over(scope(1))
        assert not sessions.is_known(scope(2))
        assert not sessions.is_over(scope(2))


async def test_early_mail_that_is_too_much_is_counted(tmp_path):
    async with seats(tmp_path) as all_:
        sessions = all_[0].sessions
        for number in range(EARLY_EACH + 3):
            sessions.deliver(scope(1), b"x%d" % number)
        assert sessions.dropped == {"early": 3}


async def test_what_was_forgotten_is_remembered_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 3)
    async with seats(tmp_path) as all_:
        for number in range(5):
            all_[0].sessions.forget(scope(number))
        assert [all_[0].sessions.is_known(scope(number)) for number in range(5)] == [
            False,
            False,
            True,
            True,
            True,
        ]


async def test_views_are_newest_first_and_tell_how_it_ended(tmp_path):
    async with seats(tmp_path) as all_:
        sessions = all_[0].sessions
        first = [seat.open(1, adding(seat.point)) for seat in all_]
        assert [await outcome(driver) for driver in first] == [6, 6, 6]
        second = all_[0].open(2, adding(1))
        third = all_[0].open(3, adding(1))
        assert await third.changes.wait_for(lambda: third.waiting_for == (2, 3), WAIT)
        views = list(sessions.views())
        assert [view.proposal for view in views] == [third.plan.ph, second.plan.ph]
        assert views[0].waiting_for == (1, 2)
        assert views[0].parties == (0, 1, 2)
        assert (views[0].initiator, views[0].account_id, views[0].kind) == (0, "alice", "toy")
        assert (views[0].phase, views[0].outcome, views[0].session_id) == ("toy.r0", "", None)
        second.abort(NoBlame("enough"))
        with pytest.raises(NoBlame):
            await outcome(second)
        ended = {view.proposal: view.outcome for view in sessions.views(ended=True)}
        assert ended == {third.plan.ph: "", second.plan.ph: "NoBlame: enough", first[0].plan.ph: "done"}


async def test_whoever_asked_is_told_of_every_end(tmp_path):
    async with seats(tmp_path) as all_:
        ended = []
        all_[0].sessions.on_end = ended.append
        drivers = [seat.open(1, adding(seat.point)) for seat in all_]
        await asyncio.gather(*map(outcome, drivers))
        other = all_[0].open(2, adding(1))
        other.abort(NoBlame("enough"))
        with pytest.raises(NoBlame):
            await outcome(other)
        assert ended == [drivers[0], other]


async def test_a_session_that_has_ended_and_lingers_is_not_active(tmp_path):
    """Certificates of its run that come now are for the store: whoever gave up early may still need them."""
    async with seats(tmp_path, linger=WAIT) as all_:
        drivers = [seat.open(1, adding(seat.point)) for seat in all_]
        sessions, driver = all_[0].sessions, drivers[0]
        assert sessions.is_active(driver.plan.ph)
        await asyncio.gather(*map(outcome, drivers))
        assert await driver.changes.wait_for(lambda: driver.finished, WAIT)
        for scope in (driver.plan.ph, driver.sid):
            assert sessions.is_known(scope)
            assert not sessions.is_active(scope)


async def test_a_gateway_that_forgot_is_told_again_by_the_sessions_of_that_room_only(tmp_path):
    hub = Hub()
    async with seats(tmp_path, hub) as all_:
        driver = all_[0].open(1, adding(1))
        assert await driver.changes.wait_for(lambda: driver.waiting_for == (2, 3), WAIT)
        await all_[0].room.flushed()
        before = len(hub.posted)
        all_[0].sessions.restarted(all_[1].room)
        await all_[0].room.flushed()
        assert len(hub.posted) == before
        all_[0].sessions.restarted(all_[0].room)
        await all_[0].room.flushed()
        assert len(hub.posted) == 2 * before > 0

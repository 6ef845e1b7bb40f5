from __future__ import annotations

import asyncio
import threading

from driver_testing import WAIT, adding, seats

from participant.node.api import PrimePool
from participant.node.following import STEPS, Course

POOL = PrimePool(0, 0, False)


async def test_what_is_done_never_goes_back():
    course = Course(("waiting", "aux", "keygen"))
    reports = [
        course.report("waiting"),
        course.report("aux", phase="r2"),
        course.report("aux", phase="r1"),
        course.report("waiting"),
        course.report("keygen"),
        course.report("keygen", phase="done"),
        course.report("keygen", result=POOL),
    ]
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert {report.total for report in reports} == {3 * (len(STEPS) - 1)}
    assert reports[-1].done == reports[-1].total
    assert reports[-1].result is POOL
    assert all(report.elapsed >= 0 for report in reports)


async def test_an_unknown_phase_is_the_beginning_of_its_stage():
    course = Course(("aux", "keygen"))
    assert course.report("keygen", phase="r7").done == len(STEPS) - 1
    assert course.report("other").done == len(STEPS) - 1


async def test_a_session_is_followed_to_its_end(tmp_path):
    async with seats(tmp_path) as all_:
        release = threading.Event()
        drivers = [all_[0].open(1, adding(1, lambda: int(release.wait(WAIT)) - 1))]
        course = Course(("toy",))
        reports = []

        async def follow() -> None:
            async for report in course.follow(drivers[0], "toy", lambda: "a note"):
                reports.append(report)
                if report.waiting_for == (1, 2) and len(drivers) == 1:
                    drivers.extend(seat.open(1, adding(seat.point)) for seat in all_[1:])
                if len(drivers) == 3:
                    release.set()

        await asyncio.wait_for(follow(), WAIT)
        assert drivers[0].finished
        assert any(report.text == "a note: waiting for index 1, 2" for report in reports)
        assert reports[-1].session_id is not None
        assert {report.stage for report in reports} == {"toy"}
        assert reports[0].phase == "r0"

"""A crash after the k-th system call of answering, completion, a refresh's change of epoch, an audit append, a change of seals, and of a start after it.

Calls that change files, and the writes that messages leave with, are counted in a real process by a library in front of
the C library; the process ends at the k-th of them, after it or in the middle of it. A crash between two of them leaves
what a crash after the first leaves. The store is then opened by another process.

WALLET_MPC_CRASH_STRIDE is the distance of the calls that are tried, and of the disk's states after them (`make crash-points`:
1, all). Every call that a message leaves with, and its neighbours, are always among them.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from crashing.harness import CrashServer, Ended
from crashing.invariants import check_answer, check_audit, check_completion, check_erasure, check_seals
from crashing.power_loss import Disk, Operation, read_record, write_down
from crashing.steps import STEPS

from tss.envelope import Kind, Sealed, routing, unpack

STRIDE = int(os.environ.get("WALLET_MPC_CRASH_STRIDE", "12"))
CHECKS: dict[str, Callable[[Any, Path, Sequence[bytes]], None]] = {
    "answer": check_answer,
    "answer-as-owner": check_answer,
    "answer-with-checkpoint": check_answer,
    "keygen": check_completion,
    "aux": check_completion,
    "refresh": check_completion,
    "erasure": check_erasure,
    "audit": check_audit,
    "seal": check_seals,
}
REOPENED = ("answer", "keygen", "refresh")


class Case:
    """A step, the store that it begins with, and a whole run of it."""

    def __init__(self, server: CrashServer, work: Path, step: str) -> None:
        self.server, self.work, self.step = server, work, step
        self.base = work / f"{step} base"
        self.base.mkdir()
        server.prepare(step, self.base)
        self.directory = work / f"{step} run"
        self.check = partial(CHECKS[step], STEPS[step])
        record = work / f"{step} record"
        whole = self.run(record=record)
        assert not whole.killed
        assert whole.sent
        self.check(self.directory, whole.sent)
        self.sent = whole.sent
        self.operations = read_record(record)
        armed = next(i for i, one in enumerate(self.operations) if one.kind == "a")
        self.calls = self.operations[armed + 1 :]

    def fresh(self, base: Path | None = None) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(base or self.base, self.directory)

    def is_last(self, k: int) -> bool:
        """Whether a run may be over before its k-th call: messages leave in another thread, some perhaps before calls count."""
        return len(self.calls) - k < len(self.sent)

    def run(self, **options: Any) -> Ended:
        self.fresh()
        return self.server.run(self.step, self.directory, **options)


def chosen(calls: Sequence[Operation], offset: int = 0) -> list[int]:
    """Every STRIDE-th call, and those around a message."""
    near = {i + d for i, one in enumerate(calls, 1) if one.kind == "m" for d in (-1, 0, 1)}
    return [k for k in range(len(calls) + 1) if (k + offset) % STRIDE == 0 or k in near]


def say(what: str, calls: int, runs: int) -> None:
    print(f"{what}: {calls} system calls, {runs} crashes")  # noqa: T201 - the figure, shown by pytest -s


@pytest.mark.fault(2)
@pytest.mark.attack("D3")
@pytest.mark.parametrize("step", CHECKS)
def test_a_crash_after_any_system_call(server, work, step):
    case, runs = Case(server, work, step), 0
    for k in chosen(case.calls):
        ended = case.run(call=k)
        assert ended.killed or case.is_last(k)
        assert set(signed(ended.sent)) <= set(signed(case.sent)), (
            "a message differs from that of the whole run"
        )
        case.check(case.directory, ended.sent)
        runs += 1
    for k in chosen(case.calls, offset=STRIDE // 2):
        if k and case.calls[k - 1].kind in "wm":
            ended = case.run(call=k, mode="s")
            assert ended.killed or case.is_last(k)
            case.check(case.directory, ended.sent)
            runs += 1
    say(step, len(case.calls), runs)


def signed(sent: Sequence[bytes]) -> list[bytes]:
    """The messages that are the same in every run: sealed ones have a nonce of their own."""
    return [one for one in sent if one.isdigit() or not isinstance(unpack(one), Sealed)]


def test_the_log_is_copied_back_within_the_answers_commit(server, work):
    """What "answer-with-checkpoint" is for."""
    where = work / "checkpoint"
    where.mkdir()
    case = Case(server, where, "answer-with-checkpoint")
    message = next(i for i, one in enumerate(case.calls) if one.kind == "m")
    assert any(one.kind == "w" and one.path.name == "store.db" for one in case.calls[:message])


@pytest.mark.attack("D3")
def test_the_same_memory_with_the_store_of_a_crash_never_answers_another_request(server, work):
    """A copy of this process, with the presignature still fresh in it, goes on with the store that the crash left."""
    where = work / "clone"
    where.mkdir()
    case = Case(server, where, "answer")
    runs = refused = 0
    for k in chosen(case.calls):
        first = case.run(call=k)
        second = server.run("answer-other", case.directory)
        assert not second.killed
        partials = [one for one in (*first.sent, *second.sent) if routing(one)[1] is Kind.MSG]
        assert len(partials) <= 1, "two partial signatures of one presignature"
        if first.sent:
            refused += 1
            check_answer(STEPS["answer"], case.directory, first.sent)
        runs += 1
    assert 0 < refused < runs
    say("answer, then another request", len(case.calls), runs)


@pytest.mark.parametrize("of", REOPENED)
def test_a_crash_after_any_system_call_of_the_start_after_a_crash(server, work, of):
    where = work / f"reopen {of}"
    where.mkdir()
    case = Case(server, where, of)
    # The moment in which the log holds most and the file nothing: all messages have left, nothing was copied back.
    k = max(i for i, one in enumerate(case.calls, 1) if one.kind == "m")
    left = case.run(call=k)
    crashed = where / "crashed"
    shutil.copytree(case.directory, crashed)
    record = where / "record"
    server.run("reopen", case.directory, record=record)
    calls = [one for one in read_record(record) if one.kind != "a"]
    runs = 0
    for mode in "as":
        for k in chosen(calls):
            if mode == "s" and (k == 0 or calls[k - 1].kind not in "wm"):
                continue
            case.fresh(crashed)
            assert server.run("reopen", case.directory, call=k, mode=mode).killed
            case.check(case.directory, left.sent)
            runs += 1
    say(f"start after a crash in {of}", len(calls), runs)


@pytest.mark.fault(2)
@pytest.mark.parametrize("step", CHECKS)
def test_a_power_failure_after_any_system_call(server, work, step):
    """Whatever was not synced is missing, all of it or any part."""
    where = work / f"power {step}"
    where.mkdir()
    case = Case(server, where, step)
    disk, seen, states = Disk(case.base, case.directory, step), 0, 0
    sent: list[bytes] = []
    wanted = set(chosen(case.calls))
    offset = len(case.operations) - len(case.calls)
    for number, operation in enumerate(case.operations, 1):
        disk.do(operation)
        if operation.kind == "m":
            sent.append(case.sent[len(sent)])
        if number - offset not in wanted:
            continue
        for contents in disk.after_power_loss():
            seen += 1
            if seen % STRIDE:
                continue
            write_down(contents, case.directory)
            case.check(case.directory, sent)
            states += 1
    print(f"{step}: {len(case.calls)} system calls, {states} states of the disk")  # noqa: T201 - the figure

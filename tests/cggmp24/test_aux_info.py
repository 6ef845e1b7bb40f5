"""Auxiliary information among honest parties (protocol.md 2.1): what comes out, and the transcript by hand."""

from __future__ import annotations

import hashlib
from typing import Any

import gmpy2
import pytest
from cggmp24_cheating import durable, reports
from cggmp24_testing import primes_of, run_aux, said
from session_testing import identity_of
from tss_testing import SMALL_SECP, TINY
from zk_cases import RELATIONS
from zk_naive import enc

from tss.cggmp24 import aux_info
from tss.cggmp24.completion import Certificate, NewState, check_certificate
from tss.envelope import Kind, holder
from tss.errors import AbortedByPeer, InternalError, NotStored, ShareCorrupt, SharedPrime
from tss.params import Suite
from tss.records import AuxSet
from tss.transcript import Context


def hc(tag: str, *values: Any) -> bytes:
    return hashlib.sha256(enc([TINY.proto, tag, *values])).digest()


@pytest.mark.parametrize(
    ("suite", "n"),
    [(TINY, 2), (TINY, 3), (TINY, 5), (TINY, 16), (SMALL_SECP, 2)],
    ids=lambda value: getattr(value, "proto", value),
)
def test_everybody_has_sound_parameters_of_everybody(suite: Suite, n: int) -> None:
    sets = run_aux(n, suite=suite).results()
    primes = primes_of(suite, n)
    for index, aux in sets.items():
        aux.check()
        assert (aux.me, aux.indices) == (index, list(range(1, n + 1)))
        assert (aux.aux_id, aux.parties) == (sets[1].aux_id, sets[1].parties)
        p, q_, p_hat, q_hat = primes[index]
        own = aux.parties[index]
        assert (own.N, own.N_hat) == (p * q_, p_hat * q_hat)
        assert (aux.paillier.p, aux.paillier.q_) == (p, q_)
        assert AuxSet.from_bytes(suite, aux.to_bytes()).parties == aux.parties
        # Both bases are squares, so s^x t^mu hides x (protocol.md 0.4).
        for base in (own.s, own.t):
            assert gmpy2.legendre(base, p_hat) == gmpy2.legendre(base, q_hat) == 1


@pytest.fixture(scope="module")
def run() -> Any:
    bodies: list[Any] = []
    outcomes = run_aux(3, "transcript", bodies=bodies)
    return outcomes, bodies, outcomes[1].session.sid, (1, 2, 3)


class TestTranscript:
    """Everything that protocol.md 2.1 defines, computed a second time from what was signed."""

    def test_commitments_and_prm(self, run: Any) -> None:
        outcomes, bodies, sid, parties = run
        for i in parties:
            reveal = said(bodies, i, 2)
            N, N_hat, s, t, psi, rho, u = reveal
            assert said(bodies, i, 1) == hc("aux-commit", sid, i, N, N_hat, s, t, psi, rho, u)
            assert outcomes[1].result.parties[i].as_list() == [N, N_hat, s, t]
            ctx = Context(sid, ["holder", i], None, None, "prm")
            assert RELATIONS["prm"].failures(TINY, ctx, [N_hat, s, t], psi) == []

    def test_round_3(self, run: Any) -> None:
        _, bodies, sid, parties = run
        reveals = {i: said(bodies, i, 2) for i in parties}
        rid = rid_of(reveals)
        for i in parties:
            ctx = Context(sid, ["holder", i], None, rid, "mod")
            assert RELATIONS["mod"].failures(TINY, ctx, [reveals[i][0]], said(bodies, i, 3)) == []
            for j in set(parties) - {i}:
                ctx = Context(sid, ["holder", i], ["holder", j], rid, "fac")
                statement = [reveals[i][0], *reveals[j][1:4]]
                assert RELATIONS["fac"].failures(TINY, ctx, statement, said(bodies, i, 3, to=j)) == []

    def test_ids_and_done(self, run: Any) -> None:
        outcomes, bodies, sid, parties = run
        reveals = {i: said(bodies, i, 2) for i in parties}
        listed = [reveals[i][:4] for i in parties]
        aux_id = hc("aux", sid, rid_of(reveals), listed)
        assert outcomes[1].result.aux_id == aux_id
        identities = {holder(i): identity_of(holder(i)).public for i in parties}
        for i in parties:
            done = hc("done", sid, [], [aux_id, listed])
            assert said(bodies, i, 15, kind=Kind.DONE) == done
            (state,) = durable(outcomes[i])
            assert isinstance(state, NewState)
            assert (state.sid, state.kind, state.share, state.aux_id, state.done) == (
                sid,
                "aux",
                None,
                None,
                done,
            )
            assert state.aux is outcomes[i].result
            certificate = outcomes[i].records[-1]
            assert isinstance(certificate, Certificate)
            check_certificate(TINY.proto, sid, done, identities, certificate.envelopes)


def rid_of(reveals: dict[int, list[Any]]) -> bytes:
    total = 0
    for reveal in reveals.values():
        total ^= int.from_bytes(reveal[5], "big")
    return total.to_bytes(32, "big")


def test_tail() -> None:
    assert aux_info.tail(None) == [None]
    assert aux_info.tail([b"k" * 32]) == [[b"k" * 32]]
    assert run_aux(2)[1].session.sid_preimage[7:] == [None]


def test_primes_are_taken_once_and_inside_a_job() -> None:
    """The search may take minutes: it must not run where the session is driven."""
    taken: list[int] = []
    inside: list[bool] = []
    primes = primes_of(TINY, 2)
    running = {1: False}

    def program(ctx: Any) -> Any:
        def take() -> Any:
            taken.append(1)
            inside.append(running[1])
            return primes[1]

        generator = aux_info.aux_info(ctx, take)
        answer = None
        while True:
            try:
                running[1] = True
                effect = generator.send(answer)
            except StopIteration as stop:
                return stop.value
            finally:
                running[1] = False
            answer = yield effect

    assert run_aux(2, programs={1: program})[2].error is None
    assert (taken, inside) == ([1], [False])


@pytest.mark.parametrize("problem", [ShareCorrupt("no primes"), NotStored("no primes"), OSError("no primes")])
def test_without_primes_there_is_no_blame(problem: Exception) -> None:
    def take() -> Any:
        raise problem

    outcomes = run_aux(2, programs={2: lambda ctx: aux_info.aux_info(ctx, take)}, confess=True)
    error = outcomes[2].error
    assert isinstance(error, type(problem) if not isinstance(problem, OSError) else InternalError)
    assert isinstance(outcomes[1].error, AbortedByPeer)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param((0, 1, 2, 2), id="N^ is a square"),
        pytest.param((0, 0, 2, 3), id="N is a square"),
    ],
)
def test_own_primes_that_are_unfit_are_never_used(bad: tuple[int, ...]) -> None:
    primes = primes_of(TINY, 2)
    primes[1] = tuple(primes[1][k] for k in bad)
    outcomes = run_aux(2, primes=primes)
    assert isinstance(outcomes[1].error, ShareCorrupt)
    outcomes.assert_no_blame(ShareCorrupt)
    assert not [body for body in outcomes[1].bodies() if body.kind is Kind.MSG and body.round > 0]


@pytest.mark.attack("B11")
@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        pytest.param(0, 0, id="N and N"),
        pytest.param(1, 2, id="N and N^"),
        pytest.param(3, 1, id="N^ and N"),
        pytest.param(2, 3, id="N^ and N^"),
    ],
)
@pytest.mark.parametrize("pair", [(1, 2), (1, 3), (2, 3)])
def test_a_prime_of_two_parties_ends_the_run_without_blame(
    pair: tuple[int, int], mine: int, theirs: int
) -> None:
    """Nobody knows who copied (protocol.md 2.1 check 3)."""
    i, j = pair
    primes = primes_of(TINY, 3)
    primes[j] = tuple(primes[i][mine] if k == theirs else p for k, p in enumerate(primes[j]))
    outcomes = run_aux(3, (pair, mine, theirs), primes=primes, drop=reports)
    outcomes.assert_no_blame(SharedPrime)
    for error in outcomes.errors().values():
        assert isinstance(error, SharedPrime)
        assert f"parties {i} and {j}" in str(error)
    assert not any(durable(node) for node in outcomes.honest)


@pytest.mark.attack("B11")
def test_equal_moduli_of_two_parties_end_the_run_without_blame() -> None:
    primes = primes_of(TINY, 3)
    primes[3] = primes[2]
    outcomes = run_aux(3, primes=primes, drop=reports)
    outcomes.assert_no_blame(SharedPrime)
    assert all("parties 2 and 3" in str(error) for error in outcomes.errors().values())

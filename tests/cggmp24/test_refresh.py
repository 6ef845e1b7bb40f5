"""Key refresh among honest parties (protocol.md 2.2): what comes out, and the transcript by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from cggmp24_cheating import durable
from cggmp24_testing import Signers, dealt_key, refresh_program, run_refresh, said, secret_of
from session_testing import identity_of
from tss_testing import SMALL_SECP, TINY, TINY_WITHOUT_AUX
from zk_cases import RELATIONS
from zk_naive import enc

from tss.cggmp24 import refresh
from tss.cggmp24.completion import Certificate, NewState, check_certificate
from tss.cggmp24.sign import SignRequest
from tss.effects import SessionContext
from tss.envelope import Kind, holder
from tss.errors import CallerError, Degenerate
from tss.params import Suite
from tss.records import AuxSet, KeyShare
from tss.transcript import Context

Q = TINY.group.q


def hc(tag: str, *values: Any) -> bytes:
    return hashlib.sha256(enc([TINY.proto, tag, *values])).digest()


def xor(values: Sequence[bytes]) -> bytes:
    return reduce(lambda a, b: bytes(x ^ y for x, y in zip(a, b, strict=True)), values)


@pytest.mark.parametrize(
    ("suite", "n", "thresholds"),
    [
        *[(TINY, 2, [2]), (TINY, 3, [2, 3]), (TINY, 5, [3, 3, 5]), (SMALL_SECP, 2, [2])],
        *[(TINY_WITHOUT_AUX, 2, [2]), (TINY_WITHOUT_AUX, 3, [3, 2]), (TINY_WITHOUT_AUX, 16, [9])],
    ],
    ids=lambda value: getattr(value, "proto", value),
)
def test_new_shares_of_the_same_keys(suite: Suite, n: int, thresholds: list[int]) -> None:
    keys = [dealt_key(suite, n, t, seed=k) for k, t in enumerate(thresholds)]
    results = run_refresh(keys, ("honest", n)).results()
    for k, key in enumerate(keys):
        new = {j: result.shares[k] for j, result in results.items()}
        assert secret_of(new) == secret_of(key)
        assert secret_of(new, list(new)[-new[1].t :]) == secret_of(key)
        for j, share in new.items():
            share.check()
            old = key[j]
            kept = (share.key_id, share.t, share.me, share.X, share.chain_code)
            assert kept == (old.key_id, old.t, old.me, old.X, old.chain_code)
            assert share.x != old.x
            assert share.share_epoch == new[1].share_epoch != old.share_epoch
            assert share.public_shares == new[1].public_shares
            assert not set(share.public_shares.values()) & set(old.public_shares.values())
            assert KeyShare.from_bytes(suite, share.to_bytes()) == share
        # A share of before and shares of after do not add up.
        mixed = {1: key[1]} | {j: share for j, share in new.items() if j != 1}
        assert secret_of(mixed, list(mixed)[: new[1].t]) != secret_of(key)
    sets = [result.aux for result in results.values()]
    if not suite.has_aux:
        assert sets == [None] * n
        return
    for found in sets:
        found.check()
        assert (found.aux_id, found.parties) == (sets[0].aux_id, sets[0].parties)
        assert AuxSet.from_bytes(suite, found.to_bytes()).parties == found.parties


def test_what_was_refreshed_signs() -> None:
    signers = Signers((1, 3), 3)
    results = run_refresh([signers.shares], "signs").results()
    new = {j: result.shares[0] for j, result in results.items()}
    sets = {j: result.aux for j, result in results.items()}

    class After(Signers):
        shares = property(lambda _: new)  # type: ignore[assignment]
        aux = property(lambda _: sets)  # type: ignore[assignment]

    request = SignRequest(hashlib.sha256(b"refreshed").digest(), ())
    outcomes = After((1, 3), 3).full_sign(request)
    assert len(set(outcomes.results().values())) == 1


def test_a_key_can_be_refreshed_again_and_again() -> None:
    key = dealt_key(TINY_WITHOUT_AUX, 3, 2)
    secret, epochs = secret_of(key), {key[1].share_epoch}
    for generation in range(4):
        results = run_refresh([key], generation).results()
        key = {j: result.shares[0] for j, result in results.items()}
        epochs.add(key[1].share_epoch)
        assert secret_of(key) == secret
    assert len(epochs) == 5


@pytest.fixture(scope="module")
def run() -> Any:
    bodies: list[Any] = []
    keys = [dealt_key(TINY, 3, 2), dealt_key(TINY, 3, 3, seed=1)]
    outcomes = run_refresh(keys, "transcript", bodies=bodies)
    return outcomes, bodies, outcomes[1].session.sid, keys


class TestTranscript:
    """Everything that protocol.md 2.2 defines, computed a second time from what was signed."""

    def test_commitments_and_dealings(self, run: Any) -> None:
        _, bodies, sid, keys = run
        G = TINY.group.G
        for i in (1, 2, 3):
            reveal = said(bodies, i, 2)
            assert len(reveal) == 8
            assert said(bodies, i, 1) == hc("refresh-commit", sid, i, *reveal)
            assert [len(C) for C, _ in reveal[7]] == [1, 2]
            for j in {1, 2, 3} - {i}:
                dealt = said(bodies, i, 2, to=j)
                assert len(dealt) == len(keys)
                for d, (C, _) in zip(dealt, reveal[7], strict=True):
                    assert 0 <= d < Q
                    expected = TINY.group.identity
                    for power, point in enumerate(C, start=1):
                        expected = expected + j**power * point
                    assert d * G == expected

    def test_round_3(self, run: Any) -> None:
        outcomes, bodies, sid, keys = run
        reveals = {i: said(bodies, i, 2) for i in (1, 2, 3)}
        rid = xor([reveal[5] for reveal in reveals.values()])
        for i in (1, 2, 3):
            psi_mod, psi_sch = said(bodies, i, 3)
            ctx = Context(sid, ["holder", i], None, rid, "mod")
            assert RELATIONS["mod"].failures(TINY, ctx, [reveals[i][0]], psi_mod) == []
            for j in {1, 2, 3} - {i}:
                ctx = Context(sid, ["holder", i], ["holder", j], rid, "fac")
                statement = [reveals[i][0], *reveals[j][1:4]]
                assert RELATIONS["fac"].failures(TINY, ctx, statement, said(bodies, i, 3, to=j)) == []
            for k, proof in enumerate(psi_sch):
                X_new = outcomes[1].result.shares[k].public_shares[i]
                ctx = Context(hc("item", sid, k), ["holder", i], None, rid, "refresh-share")
                assert RELATIONS["sch"].failures(TINY, ctx, [X_new], proof) == []
                assert proof[0] == reveals[i][7][k][1]
                change = TINY.group.identity
                for j in (1, 2, 3):
                    for power, point in enumerate(reveals[j][7][k][0], start=1):
                        change = change + i**power * point
                assert X_new == keys[k][i].public_shares[i] + change

    def test_ids_and_done(self, run: Any) -> None:
        outcomes, bodies, sid, _ = run
        result = outcomes[1].result
        parties = [result.aux.parties[j].as_list() for j in (1, 2, 3)]
        rid = xor([said(bodies, i, 2)[5] for i in (1, 2, 3)])
        assert result.aux.aux_id == hc("aux", sid, rid, parties)
        accounts = []
        for share in result.shares:
            public = [share.public_shares[j] for j in (1, 2, 3)]
            assert share.share_epoch == hc("share-epoch", sid, share.X, public)
            ids = [share.key_id, share.share_epoch, result.aux.aux_id]
            accounts.append([ids, share.X, share.chain_code, public])
        done = hc("done", sid, accounts, [result.aux.aux_id, parties])
        identities = {holder(i): identity_of(holder(i)).public for i in (1, 2, 3)}
        for i in (1, 2, 3):
            assert said(bodies, i, 15, kind=Kind.DONE) == done
            (state,) = durable(outcomes[i])
            assert isinstance(state, NewState)
            assert (state.sid, state.kind, state.aux_id) == (sid, "refresh", result.aux.aux_id)
            assert (state.shares, state.aux) == (outcomes[i].result.shares, outcomes[i].result.aux)
            certificate = outcomes[i].records[-1]
            assert isinstance(certificate, Certificate)
            check_certificate(TINY.proto, sid, done, identities, certificate.envelopes)


def test_tail() -> None:
    """[key_id, X, c-hash, t, share_epoch, aux_id, [X_j]] for each account (protocol.md 0.7)."""
    shares = [dealt_key(TINY, 3, 2)[1], dealt_key(TINY, 3, 3, seed=1)[1]]
    aux_ids = [b"a" * 32, None]
    (accounts,) = refresh.tail(shares, aux_ids)
    for line, share, aux_id in zip(accounts, shares, aux_ids, strict=True):
        c_hash = hc("c-hash", share.X, share.chain_code)
        public = [share.public_shares[j] for j in (1, 2, 3)]
        assert line == [share.key_id, share.X, c_hash, share.t, share.share_epoch, aux_id, public]
    assert run_refresh([dealt_key(TINY, 2, 2)])[1].session.sid_preimage[7:] == refresh.tail(
        [dealt_key(TINY, 2, 2)[1]], [b"\xaa" * 32]
    )
    with pytest.raises(ValueError, match="zip"):
        refresh.tail(shares, [None])


KEY = dealt_key(TINY_WITHOUT_AUX, 3, 2)


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        pytest.param([], "0 accounts", id="none"),
        pytest.param([KEY[1], KEY[1]], "occurs twice", id="one twice"),
        pytest.param([KEY[1]] * 1001, "1001 accounts", id="too many"),
        pytest.param([KEY[2]], "another suite or place", id="another's share"),
        pytest.param(
            [dealt_key(TINY_WITHOUT_AUX, 4, 2)[1]], "another suite or place", id="another committee's share"
        ),
        pytest.param([replace(KEY[1], suite=SMALL_SECP)], "another suite or place", id="another suite"),
    ],
)
def test_shares_that_do_not_belong_here(shares: list[KeyShare], problem: str) -> None:
    outcomes = run_refresh([KEY], programs={1: refresh_program(shares, None)}, confess=True)
    assert isinstance(outcomes[1].error, CallerError)
    assert problem in str(outcomes[1].error)


def test_a_thousand_accounts_are_taken_at_once() -> None:
    shares = [replace(KEY[1], key_id=k.to_bytes(32, "big")) for k in range(1000)]
    identities = {holder(j): identity_of(holder(j)).public for j in (1, 2, 3)}
    ctx = SessionContext(TINY_WITHOUT_AUX, b"s" * 32, holder(1), identities, bytes)
    refresh._check_shares(ctx, shares)
    with pytest.raises(CallerError, match="1001 accounts"):
        refresh._check_shares(ctx, [*shares, replace(KEY[1], key_id=b"k" * 32)])


def test_primes_are_given_to_those_who_need_them() -> None:
    for key, primes in ((KEY, (3, 7, 11, 23)), (dealt_key(TINY, 3, 2), None)):
        outcomes = run_refresh([key], programs={1: refresh_program([key[1]], primes)}, confess=True)
        assert isinstance(outcomes[1].error, CallerError)
        assert "auxiliary information" in str(outcomes[1].error)


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


# A run without aux draws rho, u, then for each account its coefficients and its nonce.
FIRST_COEFFICIENT = 2


def test_a_public_share_that_becomes_the_identity_ends_the_run_without_blame() -> None:
    """x'_3 = x_3 + 3*(g_1 + g_2 + g_3) = 0: nobody's fault, and nobody's key share."""
    x_3, drawn = KEY[3].x, {1: 5, 2: 6}
    drawn[3] = (-x_3 * pow(3, -1, Q) - 11) % Q
    outcomes = run_refresh([KEY], dice={j: {FIRST_COEFFICIENT: word(value)} for j, value in drawn.items()})
    outcomes.assert_no_blame(Degenerate)
    assert any("a new public share" in str(error) for error in outcomes.errors().values())
    assert not any(durable(node) for node in outcomes.honest)


@pytest.mark.attack("C6")
def test_a_degree_that_drops_ends_the_run_without_blame() -> None:
    """The new slope is 0, so that one share alone would be the key."""
    slope = (KEY[2].x - KEY[1].x) % Q
    drawn = {1: 5, 2: 6, 3: (-slope - 11) % Q}
    outcomes = run_refresh([KEY], dice={j: {FIRST_COEFFICIENT: word(value)} for j, value in drawn.items()})
    outcomes.assert_no_blame(Degenerate)
    assert any("fewer than 2 shares" in str(error) for error in outcomes.errors().values())
    assert not any(durable(node) for node in outcomes.honest)


def test_no_secret_shows() -> None:
    result = run_refresh([KEY], "repr")[1].result
    assert str(result.shares[0].x) not in repr(result)

"""Key generation among honest parties (protocol.md 1): what comes out, and every hash and check of the transcript by hand."""

from __future__ import annotations

import hashlib
from itertools import combinations
from typing import Any

import coincurve
import ecdsa
import pytest
from cggmp24_cheating import durable, reports
from cggmp24_testing import run_keygen, said
from session_testing import identity_of, silent
from tss_testing import SMALL_SECP, TINY
from zk_cases import RELATIONS
from zk_naive import enc

from tss.cggmp24 import keygen
from tss.cggmp24.completion import Certificate, NewState, check_certificate
from tss.envelope import Kind, holder
from tss.errors import CallerError, Degenerate, SessionMismatch
from tss.transcript import Context
from tss.vss import interpolate

Q = TINY.group.q
SIZES = [(t, n) for n in range(2, 6) for t in range(2, n + 1)] + [(2, 8), (5, 9), (2, 16), (9, 16), (16, 16)]


def hc(tag: str, *values: Any) -> bytes:
    return hashlib.sha256(enc([TINY.proto, tag, *values])).digest()


def xored(values: list[bytes]) -> bytes:
    return bytes(a ^ b for a, b in zip(xored(values[1:]), values[0], strict=True)) if values else bytes(32)


@pytest.mark.parametrize(("t", "n"), SIZES)
def test_t_of_n(t: int, n: int) -> None:
    shares = run_keygen(n, t, (t, n)).results()
    first = shares[1]
    for index, share in shares.items():
        share.check()
        assert (share.me, share.t, share.n) == (index, t, n)
        public = (share.X, share.public_shares, share.chain_code, share.key_id, share.share_epoch)
        assert public == (first.X, first.public_shares, first.chain_code, first.key_id, first.share_epoch)
        assert share.x * TINY.group.G == share.public_shares[index]
    sets = list(combinations(range(1, n + 1), t))
    for S in [sets[0], sets[len(sets) // 2], sets[-1]]:
        assert interpolate({j: shares[j].x for j in S}, 0, Q) * TINY.group.G == first.X
        fewer = {j: shares[j].x for j in S[:-1]}
        assert interpolate(fewer, 0, Q) * TINY.group.G != first.X


def test_a_secp256k1_key_in_two_foreign_libraries() -> None:
    shares = run_keygen(3, 2, suite=SMALL_SECP).results()
    group = SMALL_SECP.group
    for S in combinations((1, 2, 3), 2):
        x = interpolate({j: shares[j].x for j in S}, 0, group.q)
        public = shares[1].X.to_bytes()
        assert coincurve.PrivateKey.from_int(x).public_key.format() == public
        theirs = ecdsa.SigningKey.from_secret_exponent(x, ecdsa.SECP256k1).verifying_key
        assert theirs.to_string("compressed") == public


def test_nothing_repeats() -> None:
    """Another seed, another everything; the same seed, the same key."""
    one, same, other = (run_keygen(2, 2, seed).results()[1] for seed in (1, 1, 2))
    assert one == same
    for name in ("key_id", "share_epoch", "X", "chain_code", "x"):
        assert getattr(one, name) != getattr(other, name)


N, T = 4, 3
AUX_ID = b"\xaa" * 32


@pytest.fixture(scope="module")
def run() -> Any:
    bodies: list[Any] = []
    outcomes = run_keygen(N, T, "transcript", aux_id=AUX_ID, bodies=bodies)
    return outcomes, bodies, outcomes[1].session.sid, range(1, N + 1)


class TestTranscript:
    """Everything that protocol.md 1 defines, computed a second time from what was signed."""

    def test_commitments(self, run: Any) -> None:
        _, bodies, sid, parties = run
        for i in parties:
            rid, S, A, cc, u = said(bodies, i, 2)
            assert said(bodies, i, 1) == hc("keygen-commit", sid, i, rid, S, A, cc, u)
            assert len(S) == T
            for j in set(parties) - {i}:
                _, c, w = said(bodies, i, 2, to=j)
                assert cc == hc("cc", sid, i, c, w)

    def test_shares(self, run: Any) -> None:
        outcomes, bodies, _, parties = run
        share = outcomes[2].result
        G = TINY.group.G
        for i in parties:
            S = said(bodies, i, 2)[1]
            for j in set(parties) - {i}:
                sigma = said(bodies, i, 2, to=j)[0]
                assert sigma * G == TINY.group.sum([j**k * C for k, C in enumerate(S)])
        commitments = [said(bodies, i, 2)[1] for i in parties]
        assert TINY.group.sum([S[0] for S in commitments]) == share.X
        for m in parties:
            terms = [m**k * C for S in commitments for k, C in enumerate(S)]
            assert share.public_shares[m] == TINY.group.sum(terms)

    def test_proofs_and_ids(self, run: Any) -> None:
        outcomes, bodies, sid, parties = run
        share = outcomes[1].result
        rid = xored([said(bodies, i, 2)[0] for i in parties])
        chain_code = xored([said(bodies, i, 2, to=1 if i > 1 else 2)[1] for i in parties])
        for i in parties:
            A, z = said(bodies, i, 3)
            assert said(bodies, i, 2)[2] == A
            ctx = Context(sid, ["holder", i], None, rid, "keygen-share")
            assert RELATIONS["sch"].failures(TINY, ctx, [share.public_shares[i]], [A, z]) == []
        assert share.chain_code == chain_code
        X_j = [share.public_shares[j] for j in parties]
        assert share.key_id == hc("key", sid, share.X)
        assert share.share_epoch == hc("share-epoch", sid, share.X, X_j)
        account = [[share.key_id, share.share_epoch, AUX_ID], share.X, chain_code, X_j]
        for i in parties:
            assert said(bodies, i, 15, kind=Kind.DONE) == hc("done", sid, [account], None)

    @pytest.mark.attack("C10")
    def test_the_relay_sees_neither_chain_code_nor_shares(self, run: Any) -> None:
        outcomes, bodies, _, parties = run
        private = [outcomes[1].result.chain_code]
        for i in parties:
            for j in set(parties) - {i}:
                private += said(bodies, i, 2, to=j)[1:]
        broadcasts = b"".join(out.envelope for i in parties for out in outcomes[i].posted)
        assert len(private) > N
        assert not any(value in broadcasts for value in private)

    def test_pending_before_done_and_certificate_last(self, run: Any) -> None:
        outcomes, _, sid, parties = run
        identities = {holder(i): identity_of(holder(i)).public for i in parties}
        for i in parties:
            node = outcomes[i]
            (state,) = durable(node)
            share = node.result
            assert isinstance(state, NewState)
            assert (state.sid, state.kind, state.share, state.aux) == (sid, "keygen", share, None)
            assert state.aux_id == AUX_ID
            certificate = node.records[-1]
            assert isinstance(certificate, Certificate)
            assert certificate.sid == sid
            check_certificate(TINY.proto, sid, state.done, identities, certificate.envelopes)
            pending = next(
                k for k, (what, item) in enumerate(node.log) if getattr(item, "record", None) is state
            )
            done = node.log[pending][1].envelope
            posted = [k for k, (what, item) in enumerate(node.log) if getattr(item, "envelope", None) == done]
            assert posted == [pending, *posted[1:]], "durable first, sent afterwards"
            assert len(posted) == 2


def test_tail() -> None:
    assert keygen.tail(5, 3) == [5, 3]
    outcomes = run_keygen(3, 2)
    assert outcomes[1].session.sid_preimage[7:] == [3, 2]


@pytest.mark.attack("C5")
@pytest.mark.attack("C12")
@pytest.mark.parametrize(("t", "n"), [(-1, 2), (0, 2), (1, 2), (3, 2), (4, 3), (2, 17), (17, 17)])
def test_impossible_thresholds_are_refused_before_anything_is_sent(t: int, n: int) -> None:
    outcomes = run_keygen(n, t, tail=[n, t])
    outcomes.assert_no_blame(CallerError)
    for node in outcomes.honest:
        assert not [body for body in node.bodies() if body.kind is Kind.MSG and body.round > 0]


def test_parties_with_another_aux_set_do_not_complete() -> None:
    """`done` binds the aux set that the account will use: nobody activates, nobody is blamed."""
    odd = lambda ctx: keygen.keygen(ctx, 2, b"\xbb" * 32)  # noqa: E731 - one expression
    outcomes = run_keygen(3, 2, aux_id=b"\xaa" * 32, programs={2: odd})
    outcomes.assert_no_blame(SessionMismatch)
    for index, error in outcomes.errors().items():
        assert isinstance(error, SessionMismatch), index
        assert "party 2" in str(error)
        assert not any(isinstance(record, Certificate) for record in outcomes[index].records)


def test_a_lost_done_leaves_pending_state_everywhere() -> None:
    outcomes = run_keygen(3, 2, drop=silent(3, kind=Kind.DONE))
    assert outcomes[3].error is None
    for index in (1, 2):
        assert len(durable(outcomes[index])) == 1
        assert outcomes[index].blamed is None
        assert not any(isinstance(record, Certificate) for record in outcomes[index].records)
    assert isinstance(outcomes[3].records[-1], Certificate)


def word(value: int) -> bytes:
    return (value % Q).to_bytes(4, "big")


def coefficients(*polynomials: tuple[int, ...]) -> dict[int, dict[int, bytes]]:
    """Dice by which party j draws the j-th polynomial."""
    return {j: {k: word(c) for k, c in enumerate(f)} for j, f in enumerate(polynomials, 1)}


@pytest.mark.attack("C5")
@pytest.mark.parametrize(
    "dice",
    [
        pytest.param(coefficients((5, 9), (-5, 4)), id="X = O"),
        pytest.param(coefficients((2, -1), (4, -2), (6, -3)), id="X_2 = O: the second party's share is 0"),
        pytest.param(coefficients((5, 9), (6, -9)), id="a line of degree 0: one could sign"),
        pytest.param(
            coefficients((5, 9, 4), (6, 8, 7), (1, 2, -11)), id="a parabola of degree 1: two could sign"
        ),
    ],
)
def test_degenerate_keys_end_without_blame(dice: dict[int, dict[int, bytes]]) -> None:
    n, t = len(dice), len(dice[1])
    outcomes = run_keygen(n, t, dice=dice, drop=reports)
    outcomes.assert_no_blame(Degenerate)
    assert all(type(error) is Degenerate for error in outcomes.errors().values())
    assert not any(durable(node) for node in outcomes.honest)
    del dice[1]
    assert len(run_keygen(n, t, dice=dice).results()) == n


def test_a_middle_coefficient_may_be_0() -> None:
    dice = coefficients((5, 9, 4), (6, 8, 7), (1, -17, 2))
    shares = run_keygen(3, 3, dice=dice).results()
    shares[1].check()

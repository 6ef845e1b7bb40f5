"""Resharing among honest parties (protocol.md 2.3): what comes out, and the transcript by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from cggmp24_cheating import durable, reports
from cggmp24_testing import Signers, dealt_key, secret_of
from reshare_testing import COMMITTEE_ID, Move, dealer, new
from session_testing import Anything, identity_of, says, silent
from tss_testing import SMALL_SECP, TINY, TINY_WITHOUT_AUX
from zk_cases import RELATIONS
from zk_naive import enc

from tss.cggmp24 import reshare
from tss.cggmp24.completion import Certificate, NewState, check_certificate
from tss.cggmp24.reshare import Terms
from tss.cggmp24.sign import SignRequest
from tss.encoding import decode
from tss.envelope import Kind, PartyId, holder
from tss.errors import AbortedByPeer, CallerError, SchemaViolation, SessionMismatch, Timeout
from tss.params import FROST_ED25519
from tss.transcript import Context
from tss.vss import lagrange

Q = TINY.group.q


def hc(tag: str, *values: Any) -> bytes:
    return hashlib.sha256(enc([TINY.proto, tag, *values])).digest()


def xor(values: Sequence[bytes]) -> bytes:
    return reduce(lambda a, b: bytes(x ^ y for x, y in zip(a, b, strict=True)), values)


@pytest.mark.parametrize(
    "move",
    [
        pytest.param(Move(), id="2 of 5 to 2 of 3"),
        pytest.param(Move(TINY, 6, 2, (4, 6), 3, 3), id="to a higher threshold"),
        pytest.param(Move(TINY, 3, 2, (1, 3), 5, 3), id="2 of 3 to 3 of 5, one away"),
        pytest.param(Move(TINY, 3, 2, (1, 2, 3), 3, 2), id="more dealers than needed"),
        pytest.param(Move(TINY, 5, 3, (1, 2, 5), 2, 2), id="to a lower threshold"),
        pytest.param(Move(SMALL_SECP, 3, 2, (2, 3), 2, 2), id="secp256k1"),
        pytest.param(Move(TINY_WITHOUT_AUX, 3, 2, (1, 2), 16, 9), id="without aux"),
        pytest.param(Move(FROST_ED25519, 3, 2, (2, 3), 3, 2), id="ed25519"),
    ],
)
def test_the_key_goes_to_a_new_committee(move: Move) -> None:
    outcomes = move.run("honest")
    assert all(node.error is None for node in outcomes.honest), [node.error for node in outcomes.honest]
    results = {j: outcomes[new(j)].result for j in range(1, move.new_n + 1)}
    shares = {j: result.share for j, result in results.items()}
    old = move.key
    assert secret_of(shares) == secret_of(shares, list(shares)[-move.new_t :]) == secret_of(old)
    for j, share in shares.items():
        share.check()
        assert (share.X, share.chain_code, share.t, share.me) == (old[1].X, old[1].chain_code, move.new_t, j)
        assert share.key_id == shares[1].key_id != old[1].key_id
        assert share.share_epoch == shares[1].share_epoch != old[1].share_epoch
    sets = [result.aux for result in results.values()]
    for found in sets if move.suite.has_aux else ():
        found.check()
        assert (found.aux_id, found.indices) == (sets[0].aux_id, list(shares))
    identities = {new(j): identity_of(new(j)).public for j in shares}
    (done,) = {durable(outcomes[new(j)])[0].done for j in shares}
    for i in move.dealers:
        certificate = outcomes[dealer(i)].result
        assert isinstance(certificate, Certificate)
        check_certificate(move.suite.proto, certificate.sid, done, identities, certificate.envelopes)
        assert not durable(outcomes[dealer(i)]), "a dealer makes nothing new"


def test_what_was_reshared_signs() -> None:
    move = Move(TINY, 3, 2, (2, 3), 3, 2)
    outcomes = move.run("signs")
    results = {j: outcomes[new(j)].result for j in (1, 2, 3)}

    class After(Signers):
        shares = property(lambda _: {j: result.share for j, result in results.items()})  # type: ignore[assignment]
        aux = property(lambda _: {j: result.aux for j, result in results.items()})  # type: ignore[assignment]

    request = SignRequest(hashlib.sha256(b"reshared").digest(), ())
    assert len(set(After((1, 3), 3).full_sign(request).results().values())) == 1


@pytest.fixture(scope="module")
def run() -> Any:
    bodies: list[Any] = []
    move = Move(TINY, 5, 2, (4, 5), 3, 2)
    outcomes = move.run("transcript", bodies=bodies)
    return move, outcomes, bodies, outcomes[new(1)].session.sid


def said(
    bodies: list[Any], party: PartyId, round_: int, to: PartyId | None = None, kind: Kind = Kind.MSG
) -> Any:
    (body,) = {
        b.encode(): b for b in bodies if (b.sender, b.round, b.kind, b.to) == (party, round_, kind, to)
    }.values()
    value = decode(body.payload, Anything(TINY.group))
    return value[1] if to is None else value


class TestTranscript:
    """Everything that protocol.md 2.3 defines, computed a second time from what was signed."""

    def test_dealers(self, run: Any) -> None:
        move, _, bodies, sid = run
        key, D, G = move.key, move.dealers, TINY.group.G
        for i in D:
            (C, u), nothing = said(bodies, dealer(i), 2)
            assert nothing is None
            assert said(bodies, dealer(i), 1) == hc("reshare-commit", sid, i, C, u)
            assert C[0] == lagrange(D, i, 0, Q) * key[i].public_shares[i]
            assert said(bodies, dealer(i), 3) == [None]
            for j in (1, 2, 3):
                assert said(bodies, dealer(i), 2, to=new(j)) * G == C[0] + j * C[1]
                assert said(bodies, dealer(i), 3, to=new(j)) == [key[i].chain_code, None]
        assert (
            sum((said(bodies, dealer(i), 2)[0][0][0] for i in D[1:]), said(bodies, dealer(D[0]), 2)[0][0][0])
            == key[1].X
        )

    def test_new_holders(self, run: Any) -> None:
        move, outcomes, bodies, sid = run
        opened = {j: said(bodies, new(j), 2)[1] for j in (1, 2, 3)}
        rid = xor([values[-2] for values in opened.values()])
        share = outcomes[new(1)].result.share
        for j in (1, 2, 3):
            assert said(bodies, new(j), 2)[0] is None
            assert said(bodies, new(j), 1) == hc("reshare-nonce", sid, j, *opened[j])
            ((psi_mod, psi),) = said(bodies, new(j), 3)
            X_j = sum(
                (said(bodies, dealer(i), 2)[0][0][1] * j for i in ()),
                TINY.group.sum(
                    [c for i in move.dealers for c in _terms(said(bodies, dealer(i), 2)[0][0], j)]
                ),
            )
            assert X_j == share.public_shares[j]
            place = Context(sid, ["new", j], None, rid, "reshare-share")
            assert RELATIONS["sch"].failures(TINY, place, [X_j], psi) == []
            assert psi[0] == opened[j][0]
            place = Context(sid, ["new", j], None, rid, "mod")
            assert RELATIONS["mod"].failures(TINY, place, [opened[j][1]], psi_mod) == []
            for k in {1, 2, 3} - {j}:
                place = Context(sid, ["new", j], ["new", k], rid, "fac")
                nothing, psi_fac = said(bodies, new(j), 3, to=new(k))
                assert nothing is None
                statement = [opened[j][1], *opened[k][2:5]]
                assert RELATIONS["fac"].failures(TINY, place, statement, psi_fac) == []

    def test_ids_and_done(self, run: Any) -> None:
        _, outcomes, bodies, sid = run
        result = outcomes[new(2)].result
        share, aux = result.share, result.aux
        public = [share.public_shares[j] for j in (1, 2, 3)]
        assert share.key_id == hc("key", sid, share.X)
        assert share.share_epoch == hc("share-epoch", sid, share.X, public)
        parameters = [aux.parties[j].as_list() for j in (1, 2, 3)]
        account = [[share.key_id, share.share_epoch, aux.aux_id], share.X, share.chain_code, public]
        done = hc("done", sid, [account], [aux.aux_id, parameters])
        for j in (1, 2, 3):
            assert said(bodies, new(j), 15, kind=Kind.DONE) == done
            (state,) = durable(outcomes[new(j)])
            assert isinstance(state, NewState)
            assert (state.kind, state.shares, state.aux) == (
                "reshare",
                (outcomes[new(j)].result.share,),
                outcomes[new(j)].result.aux,
            )

    def test_nothing_but_the_shares_and_the_chain_code_is_private(self, run: Any) -> None:
        _, _, bodies, _ = run
        told = {
            (b.sender.role, b.to.role, b.round) for b in bodies if b.to is not None and b.kind is Kind.MSG
        }
        assert told == {("dealer", "new", 2), ("dealer", "new", 3), ("new", "new", 3)}


def _terms(C: Sequence[Any], j: int) -> list[Any]:
    return [j**k * point for k, point in enumerate(C)]


def test_tail() -> None:
    """key_id, X, c-hash, t, share_epoch, dealer list, [X_i of dealers], t', new committee id (protocol.md 0.7)."""
    move = Move()
    share = move.key[1]
    c_hash = hc("c-hash", share.X, share.chain_code)
    X_i = [share.public_shares[4], share.public_shares[5]]
    tail = [share.key_id, share.X, c_hash, 2, share.share_epoch, [4, 5], X_i, 2, COMMITTEE_ID]
    assert move.terms.tail() == tail
    assert Terms.from_tail(tail) == move.terms
    for place, wrong in ((5, [5, 4]), (5, [4, 4]), (5, [4]), (6, X_i[:1])):
        with pytest.raises(SchemaViolation, match="listed once each"):
            Terms.from_tail([*tail[:place], wrong, *tail[place + 1 :]])
    with pytest.raises(CallerError, match="no holder"):
        Terms.of(share, (4, 6), 2, COMMITTEE_ID)


G = TINY.group.G
TERMS = Move().terms


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        pytest.param(replace(TERMS, dealers={4: TERMS.dealers[4]}), "parties are not", id="a dealer less"),
        pytest.param(replace(TERMS, t=3), "where 3 hold enough", id="too few dealers"),
        pytest.param(replace(TERMS, t=1), "where 1 hold enough", id="t = 1"),
        pytest.param(replace(TERMS, new_t=4), "4 of 3 new holders", id="t' > n'"),
        pytest.param(replace(TERMS, new_t=1), "1 of 3 new holders", id="t' = 1"),
        pytest.param(replace(TERMS, X=TERMS.X + G), "do not give the public key", id="another X"),
        pytest.param(
            replace(TERMS, dealers={4: TERMS.dealers[4] + G, 5: TERMS.dealers[5]}),
            "do not give",
            id="another X_i",
        ),
    ],
)
@pytest.mark.parametrize("index", [2, 4], ids=["new holder", "dealer"])
def test_terms_that_cannot_be(terms: Terms, problem: str, index: int) -> None:
    """A new holder that was told another key by its operator does not take part."""
    party = new(index) if index < 4 else dealer(index)
    outcomes = Move().run(programs={index: Move().program(party, terms)}, confess=True)
    error = outcomes[party].error
    assert isinstance(error, CallerError)
    assert problem in str(error)


def test_a_party_that_neither_deals_nor_holds_is_none_of_a_resharing() -> None:
    parties = [dealer(4), dealer(5), new(1), new(2), new(3)]
    TERMS.check(parties)
    with pytest.raises(CallerError, match="parties are not"):
        TERMS.check([*parties, holder(6)])


def test_a_share_of_another_account_is_not_dealt() -> None:
    other = dealt_key(TINY, 5, 2, seed=9)[4]
    outcomes = Move().run(programs={4: lambda ctx: reshare.deal(ctx, TERMS, other)}, confess=True)
    assert isinstance(outcomes[dealer(4)].error, CallerError)


def test_primes_are_given_to_those_who_need_them() -> None:
    outcomes = Move().run(programs={2: lambda ctx: reshare.hold(ctx, TERMS, None)}, confess=True)
    assert isinstance(outcomes[new(2)].error, CallerError)


def test_without_the_last_done_the_dealers_hold_no_certificate() -> None:
    outcomes = Move().run("done", cheaters=[3], drop=silent(new(3), kind=Kind.DONE))
    for i in (4, 5):
        assert isinstance(outcomes[dealer(i)].error, Timeout)
    for j in (1, 2):
        assert isinstance(outcomes[new(j)].error, Timeout)
        assert durable(outcomes[new(j)]), "the pending state stays"


def test_new_holders_that_end_differently_give_no_certificate() -> None:
    lie = says(15, lambda _: bytes(32), kind=Kind.DONE)
    outcomes = Move().run("differs", tamper={3: [lie]}, drop=reports)
    for party in (dealer(4), dealer(5), new(1), new(2)):
        assert isinstance(outcomes[party].error, (SessionMismatch, AbortedByPeer))

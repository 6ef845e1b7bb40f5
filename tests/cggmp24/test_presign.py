"""Presigning among honest signers (protocol.md 3.1-3.3): its identities, its transcript by hand, its refusals."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import combinations
from typing import Any, ClassVar

import pytest
from cggmp24_cheating import changed, reports
from cggmp24_testing import X_ZERO_LOG, Signers, dealt_aux, dealt_key, said, secret_of
from session_testing import silent
from tss_testing import SMALL_SECP, TINY
from zk_cases import RELATIONS
from zk_naive import enc

from tss.cggmp24 import presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.cggmp24.presignature import State
from tss.cggmp24.sign import SignRequest
from tss.effects import SessionContext
from tss.envelope import Kind, holder
from tss.errors import BadSignerSet, CallerError, Degenerate, InternalError, Timeout
from tss.session import session_id
from tss.transcript import Context
from tss.vss import lagrange

Q, G = TINY.group.q, TINY.group.G
REQUEST = SignRequest(hashlib.sha256(b"message").digest())


def hc(tag: str, *values: Any) -> bytes:
    return hashlib.sha256(enc([TINY.proto, tag, *values])).digest()


def assert_identities(signers: Signers, results: dict[int, Any], k: int) -> None:
    """The identities of protocol.md 3.2 of item k."""
    group, q, S = signers.suite.group, signers.suite.group.q, signers.S
    parts = {j: results[j][k] for j in S}
    public = parts[S[0]].public
    secrets = {j: parts[j]._secrets for j in S}
    for j in S:
        assert parts[j].public == public
        assert parts[j].state is State.FRESH
        assert parts[j].me == j
        assert secrets[j][0] * public.Gamma == public.Delta[j]
        assert secrets[j][1] * public.Gamma == public.S[j]
    assert group.sum(public.Delta.values()) == group.G
    assert group.sum(public.S.values()) == signers.share.X == public.X
    gamma_inverse = sum(k for k, _ in secrets.values()) % q
    assert gamma_inverse * public.Gamma == group.G
    assert sum(chi for _, chi in secrets.values()) % q == secret_of(signers.shares, S) * gamma_inverse % q


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "signers",
    [
        Signers((1, 2), 2),
        Signers((2, 5), 6, owner_=5),
        Signers((1, 2, 3), 3, owner_=2),
        Signers((4, 1, 3), 4),
        Signers((1, 3, 5, 6, 8), 8, owner_=8),
    ],
    ids=lambda signers: f"{signers.suite.group.name} {signers.S} of {signers.n}",
)
def test_presignatures(signers: Signers, batch: int) -> None:
    outcomes = signers.presign("honest", batch=batch)
    results, sid, proto = outcomes.results(), outcomes[signers.S[0]].session.sid, signers.suite.proto
    seen = set()
    for k in range(batch):
        assert_identities(signers, results, k)
        public = results[signers.S[0]][k].public
        isid = hashlib.sha256(enc([proto, "item", sid, k])).digest()
        assert (
            public.id
            == results[signers.S[0]][k].id
            == hashlib.sha256(enc([proto, "presig-id", isid])).digest()
        )
        share = signers.share
        assert (public.sid, public.key_id, public.share_epoch) == (sid, share.key_id, share.share_epoch)
        assert public.aux_id == signers.aux[signers.S[0]].aux_id
        assert (public.owner, public.signers) == (signers.owner.index, tuple(sorted(signers.S)))
        seen.add((public.id, public.Gamma))
    assert all(len(result) == batch for result in results.values())
    assert len({id_ for id_, _ in seen}) == len({Gamma for _, Gamma in seen}) == batch


def test_presignatures_on_secp256k1() -> None:
    signers = Signers((1, 2), 2, suite=SMALL_SECP)
    results = signers.presign(batch=2).results()
    for k in range(2):
        assert_identities(signers, results, k)


def test_sixteen_signers() -> None:
    signers = Signers(tuple(range(1, 17)), 16)
    assert_identities(signers, signers.presign().results(), 0)


def test_every_signer_set_of_a_key() -> None:
    for S in combinations(range(1, 6), 3):
        signers = Signers(S, 5)
        assert_identities(signers, signers.presign(S).results(), 0)


def test_without_the_trapdoor_of_ones_own_ring_pedersen() -> None:
    """lambda, p^, q^ may be deleted after the aux run (protocol.md 0.4); one then verifies more slowly."""
    signers = Signers((1, 2), 2)
    aux = replace(signers.aux[2], pedersen=None)
    program = lambda ctx: presign.presign(ctx, signers.shares[2], aux, signers.owner, 1)  # noqa: E731
    assert_identities(signers, signers.presign(programs={2: program}).results(), 0)


def test_the_record_keeps_what_the_others_signed() -> None:
    """Rounds 2 and 3 of every signer and the echoes, once a batch: evidence for a bad partial signature (3.3)."""
    signers = Signers()
    outcomes = signers.presign(batch=2)
    for first, second in outcomes.results().values():
        assert first.transcript is second.transcript
        assert session_id(first.transcript.preimage) == first.public.sid
        kept = [
            (signed.body.sender.index, signed.body.round, signed.body.kind)
            for signed in first.transcript.messages
        ]
        expected = [(i, r, Kind.MSG) for i in signers.S for r in (2, 3)] + [
            (i, 3, Kind.ECHO) for i in signers.S
        ]
        assert sorted(kept) == sorted(expected)


@pytest.fixture(scope="module")
def run() -> Any:
    signers = Signers((1, 2, 4), 4)
    bodies: list[Any] = []
    outcomes = signers.presign("transcript", batch=2, bodies=bodies)
    sid = outcomes[1].session.sid
    return signers, outcomes, bodies, [hc("item", sid, k) for k in range(2)]


def others(signers: Signers, i: int) -> list[int]:
    return [j for j in signers.S if j != i]


def ctx(isid: bytes, i: int, j: int | None, label: str) -> Context:
    return Context(isid, ["holder", i], None if j is None else ["holder", j], None, label)


class TestTranscript:
    """Everything that protocol.md 3.2 defines, computed a second time from what was signed."""

    def test_round_1(self, run: Any) -> None:
        signers, _, bodies, isids = run
        for i in signers.S:
            N_i = signers.aux[1].parties[i].N
            for k, (K, G_i, Y, A1, A2, B1, B2) in enumerate(said(bodies, i, 1)):
                for j in others(signers, i):
                    psi0, psi1 = said(bodies, i, 1, to=j)[k]
                    ring = signers.aux[1].parties[j].as_list()[1:]
                    naive = RELATIONS["enc-elg"]
                    place = ctx(isids[k], i, j, "k")
                    assert naive.failures(TINY, place, [N_i, K, Y, A1, A2, *ring], psi0) == []
                    place = ctx(isids[k], i, j, "gamma")
                    assert naive.failures(TINY, place, [N_i, G_i, Y, B1, B2, *ring], psi1) == []

    def test_round_2(self, run: Any) -> None:
        signers, _, bodies, isids = run
        S = list(signers.S)
        for i in S:
            N_i = signers.aux[1].parties[i].N
            X_i = lagrange(S, i, 0, Q) * signers.share.public_shares[i]
            for k, (Gamma, psi, hashes) in enumerate(said(bodies, i, 2)):
                _, _, Y, _, _, B1, B2 = said(bodies, i, 1)[k]
                place = ctx(isids[k], i, None, "gamma")
                assert RELATIONS["elog"].failures(TINY, place, [B1, B2, Y, Gamma, G], psi) == []
                for place_, j in enumerate(others(signers, i)):
                    D, F, D_hat, F_hat, psi_aff, psi_hat = said(bodies, i, 2, to=j)[k]
                    assert hashes[place_] == hc("mta-commit", isids[k], i, j, D, F, D_hat, F_hat)
                    N_j, *ring = signers.aux[1].parties[j].as_list()
                    K_j = said(bodies, j, 1)[k][0]
                    naive = RELATIONS["aff-g"]
                    for label, statement, proof in (
                        ("gamma", [N_j, N_i, K_j, D, F, Gamma, *ring], psi_aff),
                        ("x", [N_j, N_i, K_j, D_hat, F_hat, X_i, *ring], psi_hat),
                    ):
                        assert naive.failures(TINY, ctx(isids[k], i, j, label), statement, proof) == []

    def test_round_3_and_the_sign_convention(self, run: Any) -> None:
        """delta_i = gamma_i*k_i + sum of dec(D) of the others - sum of own masks (protocol.md 3.2)."""
        signers, outcomes, bodies, isids = run
        S = list(signers.S)
        for k in range(2):
            Gamma = TINY.group.sum([said(bodies, i, 2)[k][0] for i in S])
            opened = {i: open_round_1(signers, bodies, i, k) for i in S}
            deltas = 0
            for i in S:
                delta, Delta, S_i, psi = said(bodies, i, 3)[0][k]
                _, _, Y, A1, A2, _, _ = said(bodies, i, 1)[k]
                assert RELATIONS["elog"].failures(
                    TINY, ctx(isids[k], i, None, "delta"), [A1, A2, Y, Delta, Gamma], psi
                ) == []  # fmt: skip
                k_i, gamma_i = opened[i]
                x_i = lagrange(S, i, 0, Q) * signers.shares[i].x % Q
                expected, chi = gamma_i * k_i, x_i * k_i
                own = signers.aux[i].paillier
                for j in others(signers, i):
                    D, _, D_hat, _, _, _ = said(bodies, j, 2, to=i)[k]
                    _, F, _, F_hat, _, _ = said(bodies, i, 2, to=j)[k]
                    expected += own.dec(D) - own.dec(F)
                    chi += own.dec(D_hat) - own.dec(F_hat)
                assert delta == expected % Q
                assert k_i * Gamma == Delta
                assert chi * Gamma == S_i
                deltas += delta
            k_sum, gamma_sum = (sum(values) for values in zip(*opened.values(), strict=True))
            assert deltas % Q == k_sum * gamma_sum % Q
            public = outcomes[1].result[k].public
            assert public.Gamma == Gamma == gamma_sum * G
            inverse = pow(deltas, -1, Q)
            for i in S:
                _, Delta, S_i, _ = said(bodies, i, 3)[0][k]
                assert (public.Delta[i], public.S[i]) == (inverse * Delta, inverse * S_i)

    def test_only_full_signing_has_entropy(self, run: Any) -> None:
        signers, _, bodies, _ = run
        assert [said(bodies, i, 3)[1] for i in signers.S] == [None] * 3

    def test_secrets_do_not_travel(self, run: Any) -> None:
        """No k_i, gamma_i or x_i as an integer anywhere in what was signed."""
        signers, _, bodies, _ = run
        everything = b"".join(body.encode() for body in bodies)
        for i in signers.S:
            for k in range(2):
                k_i, gamma_i = open_round_1(signers, bodies, i, k)
                for secret in (k_i, gamma_i, signers.shares[i].x):
                    assert enc(int(secret)) not in everything


def open_round_1(signers: Signers, bodies: Any, i: int, k: int) -> tuple[int, int]:
    """k_i and gamma_i of item k, by party i's Paillier key."""
    K, G_i, *_ = said(bodies, i, 1)[k]
    own = signers.aux[i].paillier
    return int(own.dec(K)), int(own.dec(G_i))


def test_tails() -> None:
    signers = Signers((1, 2, 4), 4)
    share, aux = signers.shares[2], signers.aux[2]
    effective = [lagrange([1, 2, 4], j, 0, Q) * share.public_shares[j] for j in (1, 2, 4)]
    parameters = [aux.parties[j].as_list() for j in (1, 2, 4)]
    expected = [share.key_id, share.X, share.share_epoch, aux.aux_id, [1, 2, 4], effective, parameters, 4, 3]
    assert presign.tail(share, aux, (4, 1, 2), 4, 3) == expected
    request = SignRequest(b"d" * 32, (7, 8))
    assert presign.full_tail(share, aux, (4, 1, 2), 4, request) == [*expected[:-1], 1, b"d" * 32, [7, 8]]
    assert presign.tail(signers.shares[1], signers.aux[1], (1, 2, 4), 4, 3) == expected


@pytest.mark.attack("D14")
@pytest.mark.parametrize("S", [(), (1,), (1, 2), (1, 2, 3, 4), (1, 1, 2), (1, 1, 2, 3), (1, 2, 5), (0, 1, 2)])
def test_signer_sets_that_are_none(S: tuple[int, ...]) -> None:
    share = dealt_key(TINY, 4, 3)[1]
    with pytest.raises(BadSignerSet):
        presign.effective_shares(share, S)
    with pytest.raises(BadSignerSet):
        presign.tail(share, dealt_aux(TINY, 4)[1], S, 1, 1)


def test_effective_shares_sum_to_the_key() -> None:
    share = dealt_key(TINY, 4, 3)[1]
    effective = presign.effective_shares(share, (4, 2, 1))
    assert list(effective) == [1, 2, 4]
    assert TINY.group.sum(effective.values()) == share.X
    torn = replace(share, public_shares={**share.public_shares, 4: share.public_shares[4] + G})
    with pytest.raises(InternalError):
        presign.effective_shares(torn, (4, 2, 1))


@pytest.mark.attack("D14")
class TestWhoTakesPart:
    """A share, an aux set and a session that do not belong together: nothing is sent, nobody is blamed."""

    def refused(self, signers: Signers, **program: Any) -> None:
        def odd(ctx: SessionContext) -> Any:
            share, aux = program.get("share", signers.shares[2]), program.get("aux", signers.aux[2])
            return presign.presign(
                ctx, share, aux, program.get("owner", signers.owner), program.get("batch", 1)
            )

        outcomes = signers.presign(programs={2: odd})
        assert isinstance(outcomes[2].error, program.get("error", BadSignerSet))
        assert not [body for body in outcomes[2].bodies() if body.kind is Kind.MSG and body.round > 0]
        for node in outcomes.honest:
            assert node.blamed is None
            assert node.error is not None

    def test_the_share_of_another_party(self) -> None:
        self.refused(Signers(), share=Signers().shares[3])

    def test_the_aux_set_of_another_party(self) -> None:
        self.refused(Signers(), aux=Signers().aux[3])

    def test_an_owner_outside_the_signer_set(self) -> None:
        self.refused(Signers(), owner=holder(4))

    def test_an_aux_set_without_a_signer(self) -> None:
        aux = Signers().aux[2]
        self.refused(Signers(), aux=replace(aux, parties={j: aux.parties[j] for j in (1, 2, 4)}))

    def test_a_session_of_another_size_than_t(self) -> None:
        share = dealt_key(TINY, 4, 2)[2]
        self.refused(Signers(), share=share)

    @pytest.mark.parametrize("batch", [-1, 0, 65])
    def test_a_batch_of_no_size(self, batch: int) -> None:
        self.refused(Signers(), batch=batch, error=CallerError)

    def test_the_largest_batch(self) -> None:
        assert presign.MAX_BATCH == 64
        signers = Signers((1, 2), 2)
        results = signers.presign(batch=64).results()
        assert len({part.id for part in results[1]}) == 64
        assert_identities(signers, results, 63)


@pytest.mark.attack("A5")
@pytest.mark.parametrize("place", range(9))
def test_records_that_differ_give_different_sessions(place: int) -> None:
    """Key, epoch, aux set, signers, parameters, owner, batch: whatever differs, nothing of round 1 is even read."""
    signers = Signers((1, 2), 2)
    tail = presign.tail(signers.shares[1], signers.aux[1], signers.S, 1, 1)
    other = changed(tail, place, 99 if place >= 7 else [] if 4 <= place <= 6 else b"other")
    outcomes = signers.presign(tails={2: other}, drop=reports)
    outcomes.assert_no_blame(Timeout)
    for node in outcomes.honest:
        assert {body.round for body in node.bodies() if body.kind is Kind.MSG} <= {0, 1}


def test_silence_is_no_guilt() -> None:
    outcomes = Signers().presign(drop=silent(2, kind=Kind.MSG, round_=2))
    outcomes.assert_no_blame(Timeout)
    assert outcomes[1].error.silent == outcomes[3].error.silent == (2,)


class Loaded(Presigning):
    """Draws the k and gamma that `secrets` has for this party, and is honest otherwise."""

    secrets: ClassVar[dict[int, dict[str, int]]] = {}

    def draw(self, k_: int) -> Item:
        given = {name: value % Q for name, value in self.secrets.get(self.ctx.me.index, {}).items()}
        item = replace(super().draw(k_), **given)
        return replace(
            item,
            K=self.own.enc(item.k, item.rho), A2=item.k * G + item.a * item.Y,
            G=self.own.enc(item.gamma, item.nu), B2=item.gamma * G + item.b * item.Y,
        )  # fmt: skip


@pytest.mark.attack("D10")
class TestDegenerate:
    """Outcomes that honest dice do not have: no result, no blame."""

    def ends(self, monkeypatch: pytest.MonkeyPatch, name: str, one: int, two: int, what: str) -> None:
        monkeypatch.setattr(presign, "Presigning", Loaded)
        monkeypatch.setattr(Loaded, "secrets", {1: {name: one}, 2: {name: two}})
        outcomes = Signers((1, 2), 2).presign(drop=reports)
        outcomes.assert_no_blame(Degenerate)
        assert all(what in str(error) for error in outcomes.errors().values())
        monkeypatch.setattr(Loaded, "secrets", {2: {name: two}})
        assert Signers((1, 2), 2).presign().results()

    def test_gamma_is_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends(monkeypatch, "gamma", 5, -5, "Gamma")

    def test_x_of_Gamma_is_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert TINY.group.x(X_ZERO_LOG * G) % Q == 0
        self.ends(monkeypatch, "gamma", 5, X_ZERO_LOG - 5, "Gamma")

    def test_delta_is_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends(monkeypatch, "k", 5, -5, "delta is 0")

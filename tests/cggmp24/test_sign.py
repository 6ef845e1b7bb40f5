"""Signing among honest signers (protocol.md 3.4, 3.5): what two foreign libraries say, the formula by hand, retries, refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import coincurve
import ecdsa
import pytest
from bip_utils import Bip32KeyData, Bip32Slip10Secp256k1
from cggmp24_testing import (
    X_ZERO_LOG,
    Signers,
    dealt_presignature,
    durable,
    run_aux,
    run_keygen,
    said,
    secret_of,
)
from eth_keys import KeyAPI
from session_testing import silent
from tss_testing import SMALL_SECP, TINY, TOY_P, SeededRng
from zk_naive import enc

from tss import ecdsa as our_ecdsa
from tss.cggmp24 import presign, sign
from tss.cggmp24.presignature import Presignature, State
from tss.cggmp24.sign import Answered, Signature, SignRequest, Terms
from tss.envelope import Kind, holder
from tss.errors import (
    AbortedByPeer,
    BadDigest,
    BadSignerSet,
    CallerError,
    Degenerate,
    HardenedPath,
    InternalError,
    NotStored,
    PresignatureSpent,
    SessionMismatch,
    Timeout,
)
from tss.groups import SECP256K1
from tss.hd import derive
from tss.params import CGGMP24_SECP256K1, Suite

Q = TINY.group.q
ORDER = SECP256K1.q
DIGEST = hashlib.sha256(b"message").digest()
SECP = Signers((1, 3), 3, suite=SMALL_SECP)


def hc(suite: Suite, tag: str, *values: Any) -> bytes:
    return hashlib.sha256(enc([suite.proto, tag, *values])).digest()


def assert_verifies_elsewhere(signature: Signature, digest: bytes, public: bytes) -> None:
    """`ecdsa` verifies it, libsecp256k1 and eth-keys recover the very key from it, and s is low."""
    r, s = (value.to_bytes(32, "big") for value in (signature.r, signature.s))
    key = ecdsa.VerifyingKey.from_string(public, curve=ecdsa.SECP256k1)
    assert key.verify_digest(r + s, digest)
    assert coincurve.PublicKey.from_signature_and_message(
        r + s + bytes([signature.v]), digest, hasher=None
    ).format() == public  # fmt: skip
    theirs = KeyAPI.Signature(vrs=(signature.v, signature.r, signature.s))
    assert theirs.recover_public_key_from_msg_hash(digest).to_compressed_bytes() == public
    assert signature.s <= (ORDER - 1) // 2


def one_signature(results: Mapping[int, Signature]) -> Signature:
    """The signature that everybody holds."""
    (signature,) = set(results.values())
    return signature


def by_formula(
    signers: Signers, request: SignRequest, gamma: int, id_: bytes, e: Mapping[int, bytes]
) -> tuple[int, int, bytes]:
    """(r, s, req): the ECDSA signature with nonce gamma*xi under x + tau, everything hashed by hand."""
    suite, group, q = signers.suite, signers.suite.group, signers.suite.group.q
    tau, X = signers.tau(request), signers.share.X
    entropy = hc(suite, "joint", id_, request.digest, tau, [[j, e[j]] for j in sorted(signers.S)])
    Gamma = gamma * group.G
    seed = hc(suite, "rerand", id_, X, tau, request.digest, Gamma, sorted(signers.S), entropy)
    bits, counter, xi = q.bit_length(), 0, 0
    while not 0 < xi < q:
        block = hashlib.shake_256(seed + counter.to_bytes(4, "big")).digest(-(-bits // 8))
        xi, counter = int.from_bytes(block, "big") & ((1 << bits) - 1), counter + 1
    nonce = gamma * xi % q
    r = group.x(nonce * group.G) % q
    m, x = int.from_bytes(request.digest, "big") % q, (secret_of(signers.shares) + tau) % q
    s = pow(nonce, -1, q) * (m + r * x) % q
    return r, min(s, q - s), hc(suite, "req", id_, request.digest, tau, entropy)


class TestStock:
    @pytest.mark.parametrize("path", [(), (0,), (5, 0, 2**31 - 1)], ids=str)
    @pytest.mark.parametrize(
        "signers",
        [
            SECP,
            Signers((2, 3), 3, suite=SMALL_SECP, owner_=3),
            Signers((1, 2, 4), 4, suite=SMALL_SECP, owner_=2),
        ],
        ids=lambda signers: f"{signers.S}, owner {signers.owner.index}",
    )
    def test_two_foreign_libraries_accept_it(self, signers: Signers, path: tuple[int, ...]) -> None:
        request = SignRequest(DIGEST, path)
        signature = one_signature(signers.stock_sign(request).results())
        share = signers.share
        theirs = Bip32Slip10Secp256k1.FromPublicKey(
            share.X.to_bytes(), Bip32KeyData(chain_code=share.chain_code)
        )
        for index in path:
            theirs = theirs.ChildKey(index)
        public = theirs.PublicKey().RawCompressed().ToBytes()
        assert signature.X_c.to_bytes() == public
        assert_verifies_elsewhere(signature, DIGEST, public)
        assert (signature.digest, signature.path) == (DIGEST, path)

    @pytest.mark.parametrize(("n", "t"), [(4, 2), (5, 3), (4, 4)])
    def test_every_signer_set_and_owner(self, n: int, t: int) -> None:
        for S in combinations(range(1, n + 1), t):
            for owner in S:
                signers = Signers(S, n, owner_=owner)
                signature = one_signature(signers.stock_sign(SignRequest(DIGEST), seed=(S, owner)).results())
                assert our_ecdsa.verify(signers.share.X, DIGEST, signature.r, signature.s)
                assert (
                    our_ecdsa.recover(DIGEST, signature.r, signature.s, signature.v, TINY.group)
                    == signers.share.X
                )

    def test_sixteen_signers(self) -> None:
        signers = Signers(tuple(range(1, 17)), 16, owner_=9)
        signature = one_signature(signers.stock_sign(SignRequest(DIGEST)).results())
        assert our_ecdsa.verify(signers.share.X, DIGEST, signature.r, signature.s)

    @pytest.mark.parametrize(
        "signers",
        [
            SECP,
            Signers((1, 3), 3, owner_=3),
            Signers((1, 3, 4), 4, suite=SMALL_SECP, owner_=3),
            Signers((2, 3, 4, 5), 5),
        ],
        ids=lambda signers: f"{signers.suite.group.name} {signers.S}",
    )
    def test_it_is_the_signature_of_the_formula(self, signers: Signers) -> None:
        """Joint entropy, xi, R, tau and every sigma computed a second time, from the dealer's gamma and x."""
        suite, owner = signers.suite, signers.owner.index
        group, q = suite.group, suite.group.q
        request = SignRequest(DIGEST, (3, 1) if suite is SMALL_SECP else ())
        gamma, bodies = 4567, []
        parts = dealt_presignature(signers.shares, signers.S, owner, gamma=gamma)
        secrets = {j: part._secrets for j, part in parts.items()}
        outcomes = signers.stock_sign(request, parts, bodies=bodies)
        signature = one_signature(outcomes.results())
        two = len(signers.S) == 2
        e = {j: said(bodies, j, 0, group=group)[1][0] for j in signers.S if j != owner}
        e[owner] = parts[owner].promise(request.digest, request.path, signers.tau(request), SeededRng(0))
        id_ = parts[owner].id
        r, s, req = by_formula(signers, request, gamma, id_, e)
        assert (signature.r, signature.s) == (r, s)
        at = sign.terms(suite, parts[owner].public, request, signers.tau(request), signature.X_c, e)
        for j in signers.S:
            round_ = (1 if j == owner else 0) if two else 2
            value = said(bodies, j, round_, group=group)
            if round_ == 0:
                value = value[1][1]
            k, chi = secrets[j]
            xi_inverse = pow(at.xi, -1, q)
            k_, chi_ = xi_inverse * k % q, xi_inverse * (chi + signers.tau(request) * k) % q
            m = int.from_bytes(DIGEST, "big") % q
            assert value == [req, (k_ * m + r * chi_) % q]

    def test_the_owner_shows_all_signed_acceptances(self) -> None:
        signers = Signers((1, 2, 4), 4, owner_=2)
        bodies: list[Any] = []
        outcomes = signers.stock_sign(SignRequest(DIGEST), bodies=bodies)
        shown = [encoded for encoded, _ in said(bodies, 2, 1)]
        sent = [b.encode() for b in bodies if b.round == 0 and b.kind is Kind.MSG]
        assert sorted(shown) == sorted(sent)
        assert len(shown) == 2
        assert outcomes[1].session.sid == hc(TINY, "sid", "sign", "toy32", outcomes[1].session.setup.ph)

    @pytest.mark.attack("D1")
    def test_another_entropy_another_nonce_point(self) -> None:
        """The same presignature, digest and path: R is not known before everybody's entropy is."""
        request = SignRequest(DIGEST)
        seen = {one_signature(SECP.stock_sign(request, SECP.stock(7), seed).results()).r for seed in range(5)}
        assert len(seen) == 5

    def test_both_parities_and_both_forms_of_s(self) -> None:
        """v recovers the key whether R has an odd y or an even one, and whether s had to be negated or not."""
        signers = Signers((1, 2), 2)
        seen = set()
        for seed in range(24):
            gamma = 1000 + seed
            parts = dealt_presignature(signers.shares, signers.S, gamma=gamma)
            bodies: list[Any] = []
            signature = one_signature(
                signers.stock_sign(SignRequest(DIGEST), parts, seed, bodies=bodies).results()
            )
            sigmas = [said(bodies, 2, 0)[1][1][1], said(bodies, 1, 1)[1]]
            negated = sum(sigmas) % Q != signature.s
            assert (
                our_ecdsa.recover(DIGEST, signature.r, signature.s, signature.v, TINY.group)
                == signers.share.X
            )
            seen.add((signature.v, negated))
        assert seen == {(0, False), (0, True), (1, False), (1, True)}

    def test_the_answer_is_durable_before_it_leaves(self) -> None:
        for signers in (Signers((1, 2), 2), Signers((1, 2, 3), 3)):
            outcomes = signers.stock_sign(SignRequest(DIGEST))
            for j in signers.S:
                node = outcomes[j]
                (answered,) = durable(node)
                assert isinstance(answered, Answered)
                assert answered.presignature_id == signers.stock()[j].id
                (stored,) = [item for what, item in node.log if getattr(item, "record", None) is answered]
                kept = [item for what, item in node.log if getattr(item, "envelope", None) == stored.envelope]
                assert kept[0] is stored
                assert len(kept) == 2

    def test_a_store_that_fails_keeps_sigma_back(self) -> None:
        def full(record: object) -> None:
            if hasattr(record, "record"):
                raise OSError("disk full")

        outcomes = Signers((1, 2), 2).stock_sign(SignRequest(DIGEST), persist={2: full})
        assert type(outcomes[2].error) is NotStored
        assert not [body for body in outcomes[2].bodies() if body.kind is Kind.MSG]
        assert outcomes[1].blamed is None

    def test_the_tail(self) -> None:
        request = SignRequest(DIGEST, (1, 2))
        assert sign.tail(b"i" * 32, request, 5, (3, 1, 2), b"e" * 32) == [
            b"i" * 32, DIGEST, [1, 2], 5, [1, 2, 3], b"e" * 32,
        ]  # fmt: skip


class TestRetry:
    """The same request again gets the same bytes; anything else is refused (protocol.md 3.5 step 1)."""

    SIGNERS = (Signers((1, 2), 2), Signers((1, 2, 3), 3, owner_=2))

    def sigmas(self, signers: Signers, bodies: list[Any]) -> dict[int, Any]:
        owner = signers.owner.index
        if len(signers.S) == 2:
            return {j: said(bodies, j, 1) if j == owner else said(bodies, j, 0)[1][1] for j in signers.S}
        return {j: said(bodies, j, 2) for j in signers.S}

    @pytest.mark.attack("D2")
    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_the_same_request_again(self, signers: Signers) -> None:
        request, parts = SignRequest(DIGEST), signers.stock()
        runs = []
        for attempt in range(3):
            bodies: list[Any] = []
            ph = bytes([attempt + 1]) * 32
            results = signers.stock_sign(request, parts, attempt, ph=ph, bodies=bodies).results()
            runs.append((one_signature(results), self.sigmas(signers, bodies)))
            assert all(part.state is State.ANSWERED for part in parts.values())
        assert runs[0] == runs[1] == runs[2]

    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_after_the_last_message_was_lost(self, signers: Signers) -> None:
        request, parts, owner = SignRequest(DIGEST), signers.stock(), signers.owner.index
        last = 1 if len(signers.S) == 2 else 2
        first = signers.stock_sign(request, parts, drop=silent(owner, round_=last))
        signature = first[owner].result
        assert signature is not None
        for j in set(signers.S) - {owner}:
            assert isinstance(first[j].error, Timeout)
            assert parts[j].state is State.ANSWERED
        again = signers.stock_sign(request, parts, 1, ph=b"\x01" * 32)
        assert one_signature(again.results()) == signature

    @pytest.mark.attack("D2")
    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_another_request_is_refused_by_all(self, signers: Signers) -> None:
        parts = signers.stock()
        signers.stock_sign(SignRequest(DIGEST), parts).results()
        other = SignRequest(b"o" * 32)
        with pytest.raises(PresignatureSpent):
            signers.stock_sign(other, parts)
        # An owner that forgot, or lies: it starts with a fresh copy of its part, the others keep theirs.
        owner = signers.owner.index
        mixed = {**parts, owner: signers.stock()[owner]}
        outcomes = signers.stock_sign(other, mixed, cheaters=[owner])
        for j in set(signers.S) - {owner}:
            assert isinstance(outcomes[j].error, (PresignatureSpent, AbortedByPeer))
            assert parts[j].state is State.ANSWERED
        sigma_rounds = {0, 2} if len(signers.S) > 2 else {0}
        for j in set(signers.S) - {owner}:
            assert not [b for b in outcomes[j].bodies() if b.kind is Kind.MSG and b.round in sigma_rounds]

    @pytest.mark.parametrize("signers", SIGNERS, ids=lambda signers: str(signers.S))
    def test_a_session_without_an_answer_is_the_end_of_the_presignature(self, signers: Signers) -> None:
        parts = signers.stock()
        other = next(j for j in signers.S if j != signers.owner.index)
        outcomes = signers.stock_sign(SignRequest(DIGEST), parts, drop=silent(other))
        assert parts[signers.owner.index].state is State.DESTROYED
        assert isinstance(outcomes[signers.owner.index].error, Timeout)

    @pytest.mark.parametrize("S", [(1, 2), (1, 2, 4)])
    def test_after_the_others_began_anew(self, S: tuple[int, ...]) -> None:
        """A party whose stock is gone after a restart does not answer; the others do not answer twice."""
        signers = Signers(S, 4)
        parts = signers.stock()
        signers.stock_sign(SignRequest(DIGEST), parts).results()
        parts[S[-1]].destroy()
        outcomes = signers.stock_sign(SignRequest(DIGEST), parts)
        assert isinstance(outcomes[S[-1]].error, PresignatureSpent)
        for j in S[:-1]:
            assert outcomes[j].blamed is None
            assert outcomes[j].result is None
            assert parts[j].state is State.ANSWERED


class TestWhoTakesPart:
    def refused(
        self, signers: Signers, *, owner: int | None = None, parts: Any = None, error: Any = BadSignerSet
    ) -> None:
        stock = parts or signers.stock()
        program = lambda ctx: sign.stock_sign(  # noqa: E731 - one expression
            ctx, stock[2], signers.share.chain_code, holder(owner or signers.owner.index), SignRequest(DIGEST), b"e" * 32
        )  # fmt: skip
        outcomes = signers.stock_sign(SignRequest(DIGEST), signers.stock(), programs={2: program})
        assert isinstance(outcomes[2].error, error)
        assert stock[2].state is State.FRESH, "nothing was promised"
        assert not [body for body in outcomes[2].bodies() if body.kind is Kind.MSG]

    def test_another_owner_than_the_presignature_has(self) -> None:
        self.refused(Signers((1, 2), 2), owner=2)

    @pytest.mark.parametrize("S", [(1, 2), (1, 2, 3, 4), (2, 3, 4)])
    def test_another_signer_set(self, S: tuple[int, ...]) -> None:
        signers = Signers((1, 2, 3), 4)
        other = dealt_presignature(Signers(S, 4).shares, S, 1)
        self.refused(signers, parts=other)

    def test_another_chain_code_gives_another_request(self) -> None:
        """Records that differ: no blame, and the sigma of an honest party stays valid for its own request only."""
        request, parts = SignRequest(DIGEST, (1,)), SECP.stock()
        program = lambda ctx: sign.stock_sign(  # noqa: E731 - one expression
            ctx, parts[3], b"\0" * 32, SECP.owner, request, parts[1]._promise.e
        )  # fmt: skip
        outcomes = SECP.stock_sign(request, parts, programs={3: program})
        assert isinstance(outcomes[1].error, SessionMismatch)
        assert parts[1].state is State.DESTROYED

    def test_an_owner_whose_proposal_was_for_another_path(self) -> None:
        parts = SECP.stock()
        e = parts[1].promise(DIGEST, (1,), SECP.tau(SignRequest(DIGEST, (1,))), SeededRng(0))
        program = lambda ctx: sign.stock_sign(  # noqa: E731 - one expression
            ctx, parts[1], SECP.share.chain_code, SECP.owner, SignRequest(DIGEST, (2,)), e
        )  # fmt: skip
        outcomes = SECP.stock_sign(SignRequest(DIGEST), SECP.stock(), programs={1: program})
        assert isinstance(outcomes[1].error, PresignatureSpent)


class TestFullSigning:
    @pytest.mark.parametrize("path", [(), (44, 0, 7)], ids=str)
    def test_two_foreign_libraries_accept_it(self, path: tuple[int, ...]) -> None:
        request = SignRequest(DIGEST, path)
        signature = one_signature(SECP.full_sign(request).results())
        public = derive(SECP.share.X, SECP.share.chain_code, path).X_c.to_bytes()
        assert_verifies_elsewhere(signature, DIGEST, public)

    def test_it_is_the_signature_of_the_formula(self, monkeypatch: pytest.MonkeyPatch) -> None:
        signers, request, bodies = Signers((1, 2, 4), 4, owner_=2), SignRequest(DIGEST), []
        made: list[Presignature] = []

        class Watched(Presignature):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                made.append(self)

        monkeypatch.setattr(presign, "Presignature", Watched)
        outcomes = signers.full_sign(request, bodies=bodies)
        signature = one_signature(outcomes.results())
        e = {j: said(bodies, j, 3)[1] for j in signers.S}
        assert len(set(e.values())) == 3
        gamma = sum(int(signers.aux[j].paillier.dec(said(bodies, j, 1)[0][1])) for j in signers.S) % Q
        id_ = hc(TINY, "presig-id", hc(TINY, "item", outcomes[1].session.sid, 0))
        r, s, req = by_formula(signers, request, gamma, id_, e)
        assert (signature.r, signature.s) == (r, s)
        assert {said(bodies, j, 4)[0] for j in signers.S} == {req}
        assert [part.id for part in made] == [id_] * 3
        assert all(part.state is State.DESTROYED for part in made), "no second use"

    def test_a_presignature_of_full_signing_is_destroyed_when_sigma_does_not_come(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Presignature] = []

        class Watched(Presignature):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                made.append(self)

        monkeypatch.setattr(presign, "Presignature", Watched)
        outcomes = Signers((1, 2), 2).full_sign(SignRequest(DIGEST), drop=silent(2, round_=4))
        assert isinstance(outcomes[1].error, Timeout)
        assert [part.state for part in made] == [State.DESTROYED] * 2

    @pytest.mark.attack("A5")
    @pytest.mark.parametrize("place", [9, 10])
    def test_another_digest_or_path_is_another_session(self, place: int) -> None:
        signers, request = Signers((1, 2), 2), SignRequest(DIGEST)
        tail = presign.full_tail(signers.shares[1], signers.aux[1], signers.S, 1, request)
        other = [*tail[:place], b"o" * 32 if place == 9 else [1], *tail[place + 1 :]]
        outcomes = signers.full_sign(request, tails={2: other})
        assert all(node.blamed is None and node.result is None for node in outcomes.honest)
        assert {b.round for node in outcomes.honest for b in node.bodies() if b.kind is Kind.MSG} <= {0, 1}

    def test_signers_that_are_none(self) -> None:
        """Everything that presigning refuses, full signing does too."""
        signers = Signers((1, 2), 2)
        program = lambda ctx: presign.full_sign(  # noqa: E731 - one expression
            ctx, signers.shares[1], signers.aux[1], signers.owner, SignRequest(DIGEST)
        )  # fmt: skip
        outcomes = signers.full_sign(SignRequest(DIGEST), programs={2: program})
        assert isinstance(outcomes[2].error, BadSignerSet)


class TestRequest:
    @pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
    def test_a_digest_has_32_bytes(self, size: int) -> None:
        with pytest.raises(BadDigest):
            SignRequest(b"d" * size)

    def test_the_path_is_soft(self) -> None:
        assert SignRequest(DIGEST, (2**31 - 1,)).path == (2**31 - 1,)
        with pytest.raises(HardenedPath):
            SignRequest(DIGEST, (0, 2**31))
        with pytest.raises(CallerError):
            SignRequest(DIGEST, (-1,))
        with pytest.raises(CallerError):
            SignRequest(DIGEST, (0,) * 256)


class TestTerms:
    def test_everything_that_R_depends_on(self) -> None:
        signers = Signers((1, 2, 3), 3)
        public, X, request = signers.stock()[1].public, signers.share.X, SignRequest(DIGEST)
        e = {j: bytes([j]) * 32 for j in (1, 2, 3)}

        def r(**new: Any) -> int:
            record = type(public)(**{**vars(public), **new.pop("public", {})})
            given = {"request": request, "tau": 0, "e": e, **new}
            return sign.terms(TINY, record, given["request"], given["tau"], X, given["e"]).r

        different = {
            "nothing": r(),
            "id": r(public={"id": b"i" * 32}),
            "X": r(public={"X": X + TINY.group.G}),
            "Gamma": r(public={"Gamma": public.Gamma + TINY.group.G}),
            "digest": r(request=SignRequest(b"o" * 32)),
            "tau": r(tau=1),
            "one e": r(e={**e, 2: b"x" * 32}),
            "two e exchanged": r(e={**e, 2: e[3], 3: e[2]}),
            "S": r(public={"signers": (1, 2)}),
        }
        assert len(set(different.values())) == len(different), different
        assert r(public={"owner": 2, "aux_id": b"a" * 32}) == different["nothing"]

    @pytest.mark.parametrize("q", [2, 3, 5, 7])
    def test_xi_is_the_first_value_between_0_and_q(self, q: int) -> None:
        bits = q.bit_length()
        seen = set()
        for number in range(64):
            seed = bytes([number]) * 32
            stream = (
                hashlib.shake_256(seed + counter.to_bytes(4, "big")).digest(1)[0] & ((1 << bits) - 1)
                for counter in range(1000)
            )
            xi = sign._multiplier(seed, q)
            assert xi == next(value for value in stream if 0 < value < q)
            seen.add(xi)
        assert seen == set(range(1, q))

    def test_r_is_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sign, "_multiplier", lambda *_: 1)
        signers = Signers((1, 2), 2)
        parts = dealt_presignature(signers.shares, signers.S, gamma=X_ZERO_LOG)
        outcomes = signers.stock_sign(SignRequest(DIGEST), parts)
        outcomes.assert_no_blame(Degenerate)
        assert all(part.state is State.DESTROYED for part in parts.values())


class TestCombine:
    def at(self, **new: Any) -> tuple[Terms, int, Any]:
        """Terms for which (r, s) is a signature under X_c, with s low."""
        group = new.pop("group", TINY.group)
        R, m, x = 77 * group.G, int.from_bytes(DIGEST, "big") % group.q, 99
        r = group.x(R) % group.q
        s = pow(77, -1, group.q) * (m + r * x) % group.q
        fields = {"req": b"", "m": m, "xi": 1, "R": R, "r": r, "tau": 0, "X_c": x * group.G, **new}
        return Terms(**fields), s, group

    def test_the_sum_of_the_partials(self) -> None:
        at, s, _ = self.at()
        signature = sign.combine(TINY, at, SignRequest(DIGEST), [5, (s - 12) % Q, 7])
        assert signature.s == min(s, Q - s)
        assert our_ecdsa.recover(DIGEST, signature.r, signature.s, signature.v, TINY.group) == at.X_c

    def test_sigma_is_0(self) -> None:
        at, _, _ = self.at()
        with pytest.raises(Degenerate):
            sign.combine(TINY, at, SignRequest(DIGEST), [5, Q - 5])

    def test_a_signature_that_does_not_verify_is_a_bug_of_ours(self) -> None:
        at, s, _ = self.at()
        for bad, sigma in ((at, s + 1), (self.at(X_c=100 * TINY.group.G)[0], s)):
            with pytest.raises(InternalError, match="does not verify"):
                sign.combine(TINY, bad, SignRequest(DIGEST), [sigma])

    def test_a_recovery_id_of_another_key_is_a_bug_of_ours(self) -> None:
        """-R has the same x: the signature verifies all the same, but v leads to another key."""
        at, s, _ = self.at(R=-77 * TINY.group.G)
        with pytest.raises(InternalError, match="recover"):
            sign.combine(TINY, at, SignRequest(DIGEST), [s])

    def test_x_of_R_past_q(self) -> None:
        """Probability 2^-127 on secp256k1: v then has bit 1 set, and recovery adds q back."""
        group = TINY.group
        x, R = next((x, R) for x in range(Q, TOY_P) for R in [point_at(x)] if R is not None and x % Q)
        r, s = x % Q, 1234567
        for sigma in (s, Q - s):
            v = 2 | int(group.y_is_odd(R)) ^ (sigma != s)
            X_c = our_ecdsa.recover(DIGEST, r, s, v, group)
            at = self.at(R=R, r=r, X_c=X_c)[0]
            assert sign.combine(TINY, at, SignRequest(DIGEST), [sigma]).v == v

    @pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, Q.to_bytes(32, "big")])
    def test_digests_past_the_order(self, digest: bytes) -> None:
        """m = int_be(digest) mod q."""
        signers = Signers((1, 2), 2)
        signature = one_signature(signers.stock_sign(SignRequest(digest)).results())
        assert our_ecdsa.verify(signers.share.X, digest, signature.r, signature.s)


def point_at(x: int) -> Any:
    try:
        return TINY.group.decode_point(b"\x02" + x.to_bytes(4, "big"))
    except Exception:  # noqa: BLE001 - no point has this x
        return None


def whole_life(suite: Suite, n: int, t: int) -> None:
    """Key, aux set, stock, two signatures: every protocol on what the one before really gave."""
    shares = run_keygen(n, t, suite=suite).results()
    aux = run_aux(n, suite=suite).results()
    S = tuple(range(n - t + 1, n + 1))

    class Made(Signers):
        shares = property(lambda _self: shares)  # type: ignore[assignment]
        aux = property(lambda _self: aux)  # type: ignore[assignment]

    signers = Made(S, n, suite)
    stock = signers.presign().results()
    request = SignRequest(DIGEST, (1, 2, 3))
    public = derive(shares[1].X, shares[1].chain_code, request.path).X_c.to_bytes()
    from_stock = one_signature(signers.stock_sign(request, {j: stock[j][0] for j in S}).results())
    at_once = one_signature(signers.full_sign(request).results())
    for signature in (from_stock, at_once):
        assert_verifies_elsewhere(signature, DIGEST, public)
    assert from_stock != at_once


def test_from_nothing_to_a_signature() -> None:
    whole_life(SMALL_SECP, 3, 2)


@pytest.mark.full_size
def test_from_nothing_to_a_signature_at_full_size() -> None:
    whole_life(CGGMP24_SECP256K1, 2, 2)

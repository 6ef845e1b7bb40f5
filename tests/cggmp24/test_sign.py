"""Signing among honest signers (protocol.md 3.4, 3.5): what two foreign libraries say, and the formula by hand."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import coincurve
import ecdsa
import pytest
from bip_utils import Bip32KeyData, Bip32Slip10Secp256k1
from cggmp24_cheating import durable
from cggmp24_testing import (
    Signers,
    dealt_presignature,
    one_signature,
    run_aux,
    run_keygen,
    said,
    secret_of,
)
from eth_keys import KeyAPI
from session_testing import silent
from tss_testing import SMALL_SECP, TINY, SeededRng
from zk_naive import enc

from tss import ecdsa as our_ecdsa
from tss.cggmp24 import presign, sign
from tss.cggmp24.presignature import Presignature, State
from tss.cggmp24.sign import Answered, Signature, SignRequest
from tss.envelope import Kind
from tss.errors import (
    BadSignerSet,
    NotStored,
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

    @pytest.mark.attack("D1")
    def test_re_randomisation_cannot_be_switched_off(self) -> None:
        """There is nothing to say it with, and whatever is asked for, R is not the Gamma that was known before."""
        assert list(inspect.signature(sign.stock_sign).parameters) == [
            "ctx", "presignature", "chain_code", "owner", "request", "e_owner",
        ]  # fmt: skip
        parts = SECP.stock()
        known = SECP256K1.x(parts[SECP.S[0]].public.Gamma) % SECP256K1.q
        for path in ((), (0,), (7, 7)):
            for e in (bytes(32), b"\xff" * 32):
                request, tau = SignRequest(DIGEST, path), SECP.tau(SignRequest(DIGEST, path))
                public = parts[SECP.S[0]].public
                at = sign.terms(SECP.suite, public, request, tau, public.X, dict.fromkeys(SECP.S, e))
                assert at.xi not in (0, 1)
                assert at.r != known

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

"""What signers compute from a request (protocol.md 3.4, 3.5): entropy, xi, R, the sum of the partials, v and low s."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cggmp24_testing import (
    X_ZERO_LOG,
    Signers,
    dealt_presignature,
    one_signature,
)
from tss_testing import TINY, TOY_P

from tss import ecdsa as our_ecdsa
from tss.cggmp24 import sign
from tss.cggmp24.presignature import State
from tss.cggmp24.sign import SignRequest, Terms
from tss.errors import (
    BadDigest,
    BadPartial,
    CallerError,
    Degenerate,
    HardenedPath,
    InternalError,
    OutOfDomain,
)

Q = TINY.group.q
DIGEST = hashlib.sha256(b"message").digest()


class TestRequest:
    @pytest.mark.attack("D2")
    @pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
    def test_a_digest_has_32_bytes(self, size: int) -> None:
        with pytest.raises(BadDigest):
            SignRequest(b"d" * size)

    @pytest.mark.attack("D13")
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

    @pytest.mark.attack("D10")
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

    @pytest.mark.attack("D11")
    def test_the_sum_of_the_partials(self) -> None:
        at, s, _ = self.at()
        signature = sign.combine(TINY, at, SignRequest(DIGEST), [5, (s - 12) % Q, 7])
        assert signature.s == min(s, Q - s)
        assert our_ecdsa.recover(DIGEST, signature.r, signature.s, signature.v, TINY.group) == at.X_c

    @pytest.mark.attack("D10")
    def test_sigma_is_0(self) -> None:
        at, _, _ = self.at()
        with pytest.raises(Degenerate):
            sign.combine(TINY, at, SignRequest(DIGEST), [5, Q - 5])

    @pytest.mark.attack("D12")
    def test_a_signature_that_does_not_verify_is_a_bug_of_ours(self) -> None:
        at, s, _ = self.at()
        for bad, sigma in ((at, s + 1), (self.at(X_c=100 * TINY.group.G)[0], s)):
            with pytest.raises(InternalError, match="does not verify"):
                sign.combine(TINY, bad, SignRequest(DIGEST), [sigma])

    @pytest.mark.attack("D11")
    @pytest.mark.attack("D12")
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


class TestPartial:
    """sigma_j in [0, q) and sigma_j*R = m*Delta~_j + r*(S~_j + tau*Delta~_j), whoever asks."""

    @pytest.fixture
    def checked(self) -> Any:
        signers, request, tau = Signers((1, 2), 2), SignRequest(DIGEST), 5
        part = signers.stock()[2]
        e = {1: b"1" * 32, 2: part.promise(DIGEST, (), tau, lambda size: b"2" * size)}
        at = sign.terms(TINY, part.public, request, tau, signers.share.X + tau * TINY.group.G, e)
        sigma = part.answer(at.req, e[2], at.m, at.r, at.xi)
        return (lambda j, value: sign.check_partial(TINY, part.public, at, j, value)), sigma

    def test_the_right_one(self, checked: Any) -> None:
        check, sigma = checked
        check(2, sigma)

    def test_the_same_one_not_reduced(self, checked: Any) -> None:
        check, sigma = checked
        for value in (sigma - Q, sigma + Q, Q, -1):
            with pytest.raises(OutOfDomain) as caught:
                check(2, value)
            assert (caught.value.peer, caught.value.check) == (None, "range")

    def test_another_one(self, checked: Any) -> None:
        check, sigma = checked
        for j, value in ((2, (sigma + 1) % Q), (2, 0), (2, Q - 1), (1, sigma)):
            with pytest.raises(BadPartial) as caught:
                check(j, value)
            assert (caught.value.peer, caught.value.check) == (None, "equation")

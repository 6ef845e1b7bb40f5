"""aff-g: D = C^x * enc(y) with small x and y, Y encrypts y, X = x*G (protocol.md 5.3).

N0 is the recipient's modulus, the recipient is the verifier with its own ring-Pedersen parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from gmpy2 import mpz

from tss.encoding import PointOf, Schema, Tuple, Value
from tss.groups import Point
from tss.params import Suite
from tss.rand import Rng, plus_minus
from tss.randomizers import PLAIN, Randomizers, encrypt, lasting_power_of_s
from tss.transcript import Challenger, Context
from tss.zk.common import (
    Checks,
    PaillierKey,
    PedersenKey,
    cipher_power_secret,
    cipher_product,
    in_range,
    masked_unit,
    modulus,
    natural,
    pow2,
    ring_items,
    ring_modulus,
    signed,
    until_in_range,
)
from tss.zk.equations import AT_ONCE, Equations

NAME: Final = "aff-g"


@dataclass(frozen=True)
class Statement:
    """D = C^x * enc_0(y; rho), Y = enc_1(y; rho_y), X = x*G, x in +-2^l, y in +-2^l'. `ring` is the verifier's."""

    N0: PaillierKey
    N1: PaillierKey
    C: mpz
    D: mpz
    Y: mpz
    X: Point
    ring: PedersenKey

    def items(self) -> list[Value]:
        """STMT."""
        return [modulus(self.N0), modulus(self.N1), self.C, self.D, self.Y, self.X, *ring_items(self.ring)]


@dataclass(frozen=True)
class Witness:
    """x in +-2^l, y in +-2^l', rho in Z_N0*, rho_y in Z_N1*; s^x mod N^ where it is known already."""

    x: int | mpz = field(repr=False)
    y: mpz = field(repr=False)
    rho: mpz = field(repr=False)
    rho_y: mpz = field(repr=False)
    s_x: mpz | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Nonce:
    """alpha, beta, r, r_y, gam, del, m, mu, for one proof only."""

    alpha: mpz = field(repr=False)
    beta: mpz = field(repr=False)
    r: mpz = field(repr=False)
    r_y: mpz = field(repr=False)
    gam: mpz = field(repr=False)
    delta: mpz = field(repr=False)
    m: mpz = field(repr=False)
    mu: mpz = field(repr=False)


@dataclass(frozen=True)
class Commitment:
    """First messages.

    A = C^alpha * enc_0(beta; r), Bx = alpha*G, By = enc_1(beta; r_y), E = s^alpha t^gam, S = s^x t^m,
    F = s^beta t^del, T = s^y t^mu.
    """

    A: mpz
    Bx: Point
    By: mpz
    E: mpz
    S: mpz
    F: mpz
    T: mpz

    def items(self) -> list[Value]:
        """COM."""
        return [self.A, self.Bx, self.By, self.E, self.S, self.F, self.T]


@dataclass(frozen=True)
class Proof:
    """[A, Bx, By, E, S, F, T, z1, z2, z3, z4, w, w_y] on the wire."""

    commitment: Commitment
    z1: mpz
    z2: mpz
    z3: mpz
    z4: mpz
    w: mpz
    w_y: mpz

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [*self.commitment.items(), self.z1, self.z2, self.z3, self.z4, self.w, self.w_y]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        A, Bx, By, E, S, F, T, z1, z2, z3, z4, w, w_y = value
        return cls(Commitment(A, Bx, By, E, S, F, T), z1, z2, z3, z4, w, w_y)


def schema(suite: Suite) -> Schema:
    """[A, Bx, By, E, S, F, T, z1, z2, z3, z4, w, w_y]."""
    point, whole, integer = PointOf(suite.group), natural(suite), signed(suite)
    first = (whole, point, whole, whole, whole, whole, whole)
    return Tuple(*first, integer, integer, integer, integer, whole, whole)


@dataclass(frozen=True)
class Ahead:
    """What was made for one commitment before it: alpha and C^alpha mod N0^2."""

    alpha: mpz = field(repr=False)
    C_alpha: mpz = field(repr=False)


def draw_alpha(suite: Suite, rng: Rng) -> mpz:
    """For `Ahead`."""
    return plus_minus(rng, z1_bound(suite))


def commit(
    suite: Suite,
    statement: Statement,
    witness: Witness,
    rng: Rng,
    randomizers: Randomizers = PLAIN,
    ahead: Ahead | None = None,
) -> tuple[Nonce, Commitment]:
    """Draw the nonces. y is of one proof: its power of s may be made by a table; x may last."""
    level, st = suite.level, statement
    N_hat = ring_modulus(st.ring)
    wide, narrow = pow2(level.l + level.eps) * N_hat, pow2(level.l) * N_hat
    if ahead is None:
        alpha = draw_alpha(suite, rng)
        C_alpha = cipher_power_secret(st.N0, st.C, alpha)
    else:
        alpha, C_alpha = ahead.alpha, ahead.C_alpha
    beta = plus_minus(rng, z2_bound(suite))
    r, r_y = randomizers.nonce(st.N0, rng), randomizers.nonce(st.N1, rng)
    gam, delta = randomizers.mask(st.ring, wide, rng), randomizers.mask(st.ring, wide, rng)
    m, mu = randomizers.mask(st.ring, narrow, rng), randomizers.mask(st.ring, narrow, rng)
    s_x = lasting_power_of_s(st.ring, witness.x) if witness.s_x is None else witness.s_x
    nonce = Nonce(alpha, beta, r.value, r_y.value, gam.value, delta.value, m.value, mu.value)
    return nonce, Commitment(
        A=cipher_product(st.N0, C_alpha, encrypt(st.N0, beta, r)),
        Bx=suite.group.mul_base(alpha),
        By=encrypt(st.N1, beta, r_y),
        E=randomizers.power_of_s(st.ring, alpha) * gam.power % N_hat,
        S=s_x * m.power % N_hat,
        F=randomizers.power_of_s(st.ring, beta) * delta.power % N_hat,
        T=randomizers.power_of_s(st.ring, witness.y) * mu.power % N_hat,
    )


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> int:
    """The scalar challenge e."""
    return Challenger(suite, NAME, ctx, statement.items(), commitment.items()).scalar(suite.group)


def respond(
    suite: Suite, statement: Statement, witness: Witness, nonce: Nonce, commitment: Commitment, e: int
) -> Proof | None:
    """The responses to e; None when z1 or z2 leaves its range: draw again (P4).

    z1 = alpha + e*x, z2 = beta + e*y, z3 = gam + e*m, z4 = del + e*mu, w = r*rho^e mod N0, w_y = r_y*rho_y^e mod N1.
    """
    z1 = nonce.alpha + e * witness.x
    z2 = nonce.beta + e * witness.y
    if not in_range(z1, z1_bound(suite)) or not in_range(z2, z2_bound(suite)):
        return None
    return Proof(
        commitment,
        z1=z1,
        z2=z2,
        z3=nonce.gam + e * nonce.m,
        z4=nonce.delta + e * nonce.mu,
        w=masked_unit(nonce.r, witness.rho, e, statement.N0),
        w_y=masked_unit(nonce.r_y, witness.rho_y, e, statement.N1),
    )


def prove(
    suite: Suite,
    ctx: Context,
    statement: Statement,
    witness: Witness,
    rng: Rng,
    randomizers: Randomizers = PLAIN,
    ahead: Ahead | None = None,
) -> Proof:
    """A proof with fresh nonces, the first attempt's alpha that of `ahead`, which serves no other proof.

    Raises InternalError for a witness outside its range.
    """
    made = iter((ahead,))

    def attempt() -> Proof | None:
        nonce, commitment = commit(suite, statement, witness, rng, randomizers, next(made, None))
        e = challenge(suite, ctx, statement, commitment)
        return respond(suite, statement, witness, nonce, commitment, e)

    return until_in_range(NAME, attempt)


def verify(
    suite: Suite, ctx: Context, statement: Statement, proof: Proof, equations: Equations = AT_ONCE
) -> None:
    """Raises OutOfDomain or ProofInvalid. Who gathers `equations` has to test them before the proof is accepted."""
    check, group, level, st, com = Checks(NAME), suite.group, suite.level, statement, proof.commitment
    N0, N1, N_hat = modulus(st.N0), modulus(st.N1), ring_modulus(st.ring)
    z1, z2, z3, z4, w, w_y = proof.z1, proof.z2, proof.z3, proof.z4, proof.w, proof.w_y
    check.ciphertext("A", com.A, N0)
    check.ciphertext("C", st.C, N0)
    check.ciphertext("D", st.D, N0)
    check.ciphertext("By", com.By, N1)
    check.ciphertext("Y", st.Y, N1)
    check.unit("E", com.E, N_hat)
    check.unit("S", com.S, N_hat)
    check.unit("F", com.F, N_hat)
    check.unit("T", com.T, N_hat)
    check.unit("w", w, N0)
    check.unit("w_y", w_y, N1)
    check.within("z1", z1, z1_bound(suite))
    check.within("z2", z2, z2_bound(suite))
    dos_bound = pow2(level.l + level.eps + 1) * N_hat
    check.within("z3", z3, dos_bound)
    check.within("z4", z4, dos_bound)
    e = challenge(suite, ctx, st, com)
    # C^z1 stands on the right, as C^-z1.
    equations.paillier(check, "C^z1*enc0(z2; w) = A*D^e", st.N0, z2, w, [(com.A, 1), (st.D, e), (st.C, -z1)])
    check.holds("z1*G = Bx + e*X", z1 * group.G == com.Bx + e * st.X)
    equations.paillier(check, "enc1(z2; w_y) = By*Y^e", st.N1, z2, w_y, [(com.By, 1), (st.Y, e)])
    equations.ring(check, "s^z1 t^z3 = E*S^e", st.ring, z1, z3, [(com.E, 1), (com.S, e)])
    equations.ring(check, "s^z2 t^z4 = F*T^e", st.ring, z2, z4, [(com.F, 1), (com.T, e)])


def z1_bound(suite: Suite) -> mpz:
    """2^(l+eps)."""
    return pow2(suite.level.l + suite.level.eps)


def z2_bound(suite: Suite) -> mpz:
    """2^(l'+eps)."""
    return pow2(suite.level.l_prime + suite.level.eps)

"""Statements with witnesses for every proof, forged proofs, and the assertions that the proofs' tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from types import ModuleType
from typing import Any

import pytest
from tss_testing import TINY, SeededRng, paillier_key, pedersen_key
from zk_naive import Relation, enc_paillier, pm, unit
from zk_naive_repeated import AffGStar, Dec, Mod, Prm
from zk_naive_single import AffG, Elog, EncElg, Fac, Sch

from tss.encoding import decode, encode
from tss.errors import BadPedersen, BadPoint, OutOfDomain, PeerFault, ProofInvalid, WrongLength
from tss.modexp import OwnModulus
from tss.paillier import PaillierSecret
from tss.params import Suite
from tss.ring_pedersen import RingPedersen, RingPedersenSecret
from tss.transcript import Context
from tss.zk import aff_g, aff_g_star, dec, elog, enc_elg, fac, mod, prm, sch

MODULES: dict[str, ModuleType] = {
    module.NAME: module for module in (sch, enc_elg, aff_g, elog, fac, mod, prm, dec, aff_g_star)
}
NAMES = list(MODULES)
RELATIONS: dict[str, Relation] = {
    relation.name: relation
    for relation in (Sch(), EncElg(), AffG(), Elog(), Fac(), Mod(), Prm(), Dec(), AffGStar())
}
CTX = Context(sid=b"s" * 32, prover=["holder", 1], verifier=["holder", 2], rid=b"r" * 32, label="test")

Change = Callable[[Any], Any]


@dataclass
class Case:
    """One statement with its witness: `wit` for the naive prover, `witness` for ours."""

    name: str
    suite: Suite
    statement: Any
    wit: dict[str, Any]
    witness: Any = None
    ctx: Context = field(default=CTX)

    @property
    def module(self) -> ModuleType:
        return MODULES[self.name]

    @property
    def naive(self) -> Relation:
        return RELATIONS[self.name]

    @property
    def items(self) -> list[Any]:
        """STMT with plain integers."""
        return [int(item) if type(item).__name__ == "mpz" else item for item in self.statement.items()]

    def changed(self, **fields: Any) -> Case:
        """The same case with other fields in the statement."""
        return replace(self, statement=replace(self.statement, **fields))


@lru_cache(maxsize=64)
def keys(suite: Suite) -> tuple[PaillierSecret, PaillierSecret, RingPedersenSecret, RingPedersenSecret]:
    """Paillier keys of two parties and ring-Pedersen parameters of two parties."""
    level = suite.level
    return paillier_key(level, 0), paillier_key(level, 1), pedersen_key(level, 0), pedersen_key(level, 1)


def case(name: str, suite: Suite = TINY, seed: object = 0, **wit: Any) -> Case:
    """A true statement; `wit` sets parts of the witness, also to values outside their ranges."""
    rnd = Random(repr((name, seed)))
    key0, key1, ring, _ = keys(suite)
    group, level, N0, N1 = suite.group, suite.level, int(key0.public.N), int(key1.public.N)
    G, q = group.G, group.q

    def take(key: str, otherwise: Callable[[], Any]) -> Any:
        drawn = otherwise()
        return wit.setdefault(key, drawn)

    if name == "sch":
        take("x", lambda: rnd.randrange(1, q))
        return Case(name, suite, sch.Statement(wit["x"] * G), wit, sch.Witness(**wit))
    if name == "elog":
        y, lam = take("y", lambda: rnd.randrange(q)), take("lam", lambda: rnd.randrange(q))
        X, h = rnd.randrange(1, q) * G, rnd.randrange(1, q) * G
        return Case(
            name, suite, elog.Statement(lam * G, y * G + lam * X, X, y * h, h), wit, elog.Witness(**wit)
        )
    if name == "enc-elg":
        x, b = take("x", lambda: rnd.randrange(q)), take("b", lambda: rnd.randrange(q))
        rho = take("rho", lambda: unit(rnd, N0))
        A, C = rnd.randrange(1, q) * G, enc_paillier(N0, x, rho)
        statement = enc_elg.Statement(key0.public, C, A, b * G, x * G + b * A, ring.public)
        return Case(name, suite, statement, wit, enc_elg.Witness(**wit))
    if name in ("aff-g", "aff-g*"):
        x, y = take("x", lambda: rnd.randrange(q)), take("y", lambda: pm(rnd, 2**level.l_prime))
        rho, rho_y = take("rho", lambda: unit(rnd, N0)), take("rho_y", lambda: unit(rnd, N1))
        C = enc_paillier(N0, rnd.randrange(q), unit(rnd, N0))
        D = pow(C, x, N0 * N0) * enc_paillier(N0, y, rho) % (N0 * N0)
        Y = enc_paillier(N1, y, rho_y)
        if name == "aff-g":
            statement: Any = aff_g.Statement(key0.public, key1.public, C, D, Y, x * G, ring.public)
            return Case(name, suite, statement, wit, aff_g.Witness(**wit))
        statement = aff_g_star.Statement(key0.public, key1.public, C, D, Y, x * G)
        return Case(name, suite, statement, wit, aff_g_star.Witness(**wit))
    if name == "dec":
        x, y = (
            take("x", lambda: rnd.randrange(q)),
            take("y", lambda: pm(rnd, 2 ** (level.l_prime + level.eps))),
        )
        rho, base = take("rho", lambda: unit(rnd, N0)), rnd.randrange(1, q) * G
        K = enc_paillier(N0, rnd.randrange(q), unit(rnd, N0))
        D = enc_paillier(N0, y, rho) * pow(K, -x, N0 * N0) % (N0 * N0)
        statement = dec.Statement(key0.public, K, x * G, D, y * base, base, 2)
        return Case(name, suite, statement, wit, dec.Witness(**wit))
    if name == "fac":
        p, q_ = take("p", lambda: int(key0.p)), take("q_", lambda: int(key0.q_))
        return Case(name, suite, fac.Statement(p * q_, ring.public), wit, fac.Witness(**wit))
    if name == "mod":
        factors = take("factors", lambda: [(int(key0.p), 1), (int(key0.q_), 1)])
        N = 1
        for p, k in factors:
            N *= p**k
        plain = len(factors) == 2 and all(k == 1 for _, k in factors)
        witness = OwnModulus(factors[0][0], factors[1][0]) if plain else None
        return Case(name, suite, mod.Statement(N), wit, witness)
    assert name == "prm"
    wit = {"lam": int(ring.lam), "phi": int(ring.phi)}
    return Case(name, suite, prm.Statement(ring.public), wit, ring)


def ring_of(N_hat: int, s: int, t: int) -> RingPedersen:
    return RingPedersen(N_hat, s, t)


def prove(one: Case, seed: object = 0) -> list[Any]:
    """The wire value of an honest proof by our prover."""
    proof = one.module.prove(one.suite, one.ctx, one.statement, one.witness, SeededRng((one.name, seed)))
    return proof.to_value()


def forge(
    one: Case,
    *,
    nonce: dict[str, Any] | None = None,
    com: dict[str, Change] | None = None,
    response: dict[str, Change] | None = None,
    at: int = 0,
    seed: object = 0,
) -> list[Any]:
    """The wire value of a proof by the naive prover, who does whatever the test says.

    `nonce` replaces nonces, `com` changes first messages before the challenge is drawn, `response` changes responses;
    in proofs that repeat, those of repetition `at`.
    """
    su, st, naive = one.suite, one.items, one.naive
    nonces = naive.nonces(su, st, Random(repr((one.name, seed, "forge"))))
    (nonces[at] if naive.repeated else nonces).update(nonce or {})
    first = naive.commit(su, st, one.wit, nonces)
    _change(first[at] if naive.repeated else first, com)
    e = naive.challenge(su, one.ctx, st, first)
    responses = naive.respond(su, st, one.wit, nonces, first, e)
    _change(responses[at] if isinstance(responses, list) else responses, response)
    return naive.to_wire(first, responses)


def _change(values: dict[str, Any], changes: dict[str, Change] | None) -> None:
    for name, change in (changes or {}).items():
        values[name] = change(values[name])


def verify(one: Case, value: list[Any], statement: Any = None, ctx: Context | None = None) -> None:
    """Our verifier on a wire value, without the wire."""
    proof = one.module.Proof.from_value(value)
    one.module.verify(one.suite, ctx or one.ctx, statement or one.statement, proof)


def naive_failures(one: Case, value: list[Any]) -> list[str]:
    return one.naive.failures(one.suite, one.ctx, one.items, value)


def assert_accepted(one: Case, value: list[Any]) -> None:
    verify(one, value)
    assert naive_failures(one, value) == []


KINDS: dict[str, type[PeerFault]] = {
    "length": WrongLength,
    "unit": OutOfDomain,
    "ciphertext": OutOfDomain,
    "identity": BadPoint,
    "trivial": BadPedersen,
}
REDUCED = {("sch", "z"), ("elog", "z"), ("elog", "u"), ("enc-elg", "w"), ("prm", "z")}
"""Responses with a range [0, modulus): OutOfDomain. The other ranges are what the proof proves: ProofInvalid."""


def kind_of(name: str, check: str) -> type[PeerFault]:
    """The exact error of a check."""
    subject, _, what = check.rpartition(" ")
    if name == "mod" and what != "length":
        return ProofInvalid
    if what == "range":
        return OutOfDomain if (name, subject) in REDUCED else ProofInvalid
    return KINDS.get(what, ProofInvalid)


def assert_rejected(one: Case, value: list[Any], check: str) -> None:
    """Our verifier names `check`, with the exact error and without a peer."""
    with pytest.raises(PeerFault) as caught:
        verify(one, value)
    assert caught.value.check == f"{one.name}:{check}"
    assert type(caught.value) is kind_of(one.name, check)
    assert caught.value.peer is None


def assert_only(one: Case, value: list[Any], check: str) -> None:
    """`check` is the only one that fails, in the naive verifier's eyes too: without it the proof would pass."""
    assert naive_failures(one, value) == [check]
    assert_rejected(one, value, check)


def through_wire(one: Case, value: list[Any]) -> Any:
    return one.module.Proof.from_value(decode(encode(value), one.module.schema(one.suite)))


def leaves(value: Any, path: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Any]]:
    """Every integer and point of a wire value with its path; of long lists the first and the last item."""
    if not isinstance(value, list):
        return [(path, value)]
    found = []
    for index, item in enumerate(value):
        if len(value) < 16 or index in (0, len(value) - 1):
            found += leaves(item, (*path, index))
    return found


def put(value: Any, path: tuple[int, ...], new: Any) -> Any:
    """A copy of a wire value with another item at `path`."""
    if not path:
        return new
    copied = list(value)
    copied[path[0]] = put(copied[path[0]], path[1:], new)
    return copied


def field_name(one: Case, path: tuple[int, ...]) -> str:
    """The paper's name of what stands at `path`."""
    relation = one.naive
    if one.name == "mod":
        return "w" if path[0] == 0 else relation.response_names[path[2]]
    if one.name == "prm":
        return "Az"[path[0]]
    if relation.repeated:
        return (relation.com_names, relation.response_names)[path[0]][path[2]]
    return (relation.com_names + relation.response_names)[path[0]]

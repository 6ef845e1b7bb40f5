"""The proofs of protocol.md 5 written down a second time, straight from its text: int, pow(), hashlib, nothing else of tss.

Provers take whatever nonces a test hands them, so they are the malicious provers too; `failures` makes every check and
does not stop at the first. Values are the wire values: COM and responses as the proofs send them.
"""

# ruff: noqa: ARG002 - every relation answers the same questions, not every one needs all that it is told

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from math import gcd
from random import Random
from typing import Any

from tss.groups import Point
from tss.params import Suite
from tss.transcript import Context

Named = dict[str, Any]
Condition = tuple[str, Callable[[], bool]]


class Raw(bytes):
    """Bytes that `enc` puts down as they are."""


def integer_content(n: int) -> bytes:
    return b"\0" if n == 0 else bytes([n < 0]) + abs(n).to_bytes((abs(n).bit_length() + 7) // 8, "big")


def framed(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + len(content).to_bytes(4, "big") + content


def enc(value: Any) -> bytes:
    if isinstance(value, Raw):
        return value
    if value is None:
        return framed(7, b"")
    if isinstance(value, bytes):
        return framed(1, value)
    if isinstance(value, str):
        return framed(2, value.encode())
    if isinstance(value, Point):
        return framed(value.group.point_tag, value.to_bytes())
    if isinstance(value, (list, tuple)):
        return framed(6, len(value).to_bytes(4, "big") + b"".join(map(enc, value)))
    return framed(3, integer_content(int(value)))


def enc_paillier(N: int, m: int, r: int) -> int:
    return (1 + m * N) * pow(r, N, N * N) % (N * N)


def is_unit(a: int, N: int) -> bool:
    return 0 < a < N and gcd(a, N) == 1


def is_ciphertext(C: int, N: int) -> bool:
    return 0 < C < N * N and gcd(C, N) == 1


def jacobi(a: int, n: int) -> int:
    if n <= 0 or n % 2 == 0:
        return 0
    a, sign = a % n, 1
    while a:
        while a % 2 == 0:
            a //= 2
            if n % 8 in (3, 5):
                sign = -sign
        a, n = n, a
        if a % 4 == n % 4 == 3:
            sign = -sign
        a %= n
    return sign if n == 1 else 0


def probably_prime(n: int) -> bool:
    if n % 2 == 0:
        return n == 2
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        power = pow(base, odd, n)
        if power in (1, n - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % n
            if power == n - 1:
                break
        else:
            return False
    return True


class Relation:
    """One proof. `com` and the responses are dicts in wire order, or lists of m dicts where `repeated`."""

    name = ""
    com_names: tuple[str, ...] = ()
    response_names: tuple[str, ...] = ()
    repeated = False

    # What the proofs differ in.
    def draw(self, su: Suite, st: list[Any], rnd: Random) -> Named:
        raise NotImplementedError

    def first(self, su: Suite, st: list[Any], wit: Named, n: Named) -> Named:
        raise NotImplementedError

    def answer(self, su: Suite, st: list[Any], wit: Named, n: Named, e: Any) -> Named:
        raise NotImplementedError

    def domains(self, su: Suite, st: list[Any], com: Any, res: Any) -> Iterator[Condition]:
        raise NotImplementedError

    def equations(self, su: Suite, st: list[Any], c: Named, r: Named, e: Any) -> Iterator[Condition]:
        raise NotImplementedError

    # What they share.
    def com_items(self, com: Any) -> list[Any]:
        return [list(one.values()) for one in com] if self.repeated else list(com.values())

    def to_wire(self, com: Any, res: Any) -> list[Any]:
        if self.repeated:
            return [self.com_items(com), [list(one.values()) for one in res]]
        return [*com.values(), *res.values()]

    def from_wire(self, value: list[Any]) -> tuple[Any, Any]:
        if self.repeated:
            com, res = value
            return (
                [dict(zip(self.com_names, one, strict=True)) for one in com],
                [dict(zip(self.response_names, one, strict=True)) for one in res],
            )
        count = len(self.com_names)
        return (
            dict(zip(self.com_names, value[:count], strict=True)),
            dict(zip(self.response_names, value[count:], strict=True)),
        )

    def seed(self, su: Suite, ctx: Context, st: list[Any], com: Any) -> bytes:
        level = su.level
        parameters = [level.pb, level.l, level.l_prime, level.eps, level.m]
        where = [ctx.sid, ctx.prover, ctx.verifier, ctx.rid, ctx.label]
        preimage = [su.proto, su.group.name, self.name, parameters, where, st, self.com_items(com)]
        return hashlib.sha512(enc(preimage)).digest()

    def challenge(self, su: Suite, ctx: Context, st: list[Any], com: Any) -> Any:
        seed = self.seed(su, ctx, st, com)
        if self.repeated:
            block = hashlib.shake_256(seed + bytes(4)).digest(su.level.m // 8)
            return [int(bit) for byte in block for bit in f"{byte:08b}"]
        bits = su.group.q.bit_length()
        for counter in range(1000):
            block = hashlib.shake_256(seed + counter.to_bytes(4, "big")).digest(-(-bits // 8))
            e = int.from_bytes(block, "big") % 2**bits
            if e < su.group.q:
                return e
        raise AssertionError("no challenge in 1000 blocks")

    def lengths(self, su: Suite, com: Any, res: Any) -> Iterator[Condition]:
        if self.repeated:
            yield "commitment length", lambda: len(com) == su.level.m
            yield "responses length", lambda: len(res) == su.level.m

    def failures(self, su: Suite, ctx: Context, st: list[Any], value: list[Any]) -> list[str]:
        """The names of all checks that fail, in the order of section 5, each once."""
        com, res = self.from_wire(value)
        failed = _failing(self.lengths(su, com, res))
        if failed:
            return failed
        failed = _failing(self.domains(su, st, com, res))
        try:
            e = self.challenge(su, ctx, st, com)
        except AssertionError:
            return failed or ["challenge"]
        if self.repeated:
            conditions = [
                one
                for c, r, bit in zip(com, res, e, strict=True)
                for one in self.equations(su, st, c, r, bit)
            ]
        else:
            conditions = list(self.equations(su, st, com, res, e))
        return list(dict.fromkeys(failed + _failing(conditions)))

    def nonces(self, su: Suite, st: list[Any], rnd: Random) -> Any:
        if self.repeated:
            return [self.draw(su, st, rnd) for _ in range(su.level.m)]
        return self.draw(su, st, rnd)

    def commit(self, su: Suite, st: list[Any], wit: Named, n: Any) -> Any:
        if self.repeated:
            return [self.first(su, st, wit, one) for one in n]
        return self.first(su, st, wit, n)

    def respond(self, su: Suite, st: list[Any], wit: Named, n: Any, com: Any, e: Any) -> Any:
        if self.repeated:
            return [self.answer(su, st, wit, one, bit) for one, bit in zip(n, e, strict=True)]
        return self.answer(su, st, wit, n, e)


def _failing(conditions: Any) -> list[str]:
    failed = []
    for name, holds in conditions:
        try:
            passes = holds()
        except (ValueError, ZeroDivisionError):
            # An inverse that does not exist.
            passes = False
        if not passes:
            failed.append(name)
    return list(dict.fromkeys(failed))


def pm(rnd: Random, bound: int) -> int:
    return rnd.randint(-bound, bound)


def unit(rnd: Random, N: int) -> int:
    while True:
        value = rnd.randrange(1, N)
        if gcd(value, N) == 1:
            return value

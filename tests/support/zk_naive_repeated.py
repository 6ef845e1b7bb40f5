"""The proofs with m challenges, straight from protocol.md 5: mod, prm, dec, aff-g*."""

# ruff: noqa: ARG002 - every relation answers the same questions, not every one needs all that it is told

from __future__ import annotations

import hashlib
from math import gcd

from zk_naive import Relation, enc_paillier, is_ciphertext, is_unit, jacobi, pm, probably_prime, unit


class Mod(Relation):
    """`wit` may hold any list of prime powers: `{"factors": [(p, k), ...]}`."""

    name, com_names, response_names = "mod", ("w",), ("x", "a", "b", "z")

    def to_wire(self, com, res):
        return [com["w"], [list(root.values()) for root in res]]

    def from_wire(self, value):
        w, roots = value
        return {"w": w}, [dict(zip(self.response_names, root, strict=True)) for root in roots]

    def draw(self, su, st, rnd):
        while True:
            w = unit(rnd, st[0])
            if jacobi(w, st[0]) == -1:
                return {"w": w}

    def first(self, su, st, wit, n):
        return {"w": n["w"]}

    def challenge(self, su, ctx, st, com):
        seed, N = self.seed(su, ctx, st, com), int(st[0])
        bits = N.bit_length()
        ys = []
        for i in range(su.level.m):
            for counter in range(1000):
                block = hashlib.shake_256(seed + i.to_bytes(4, "big") + counter.to_bytes(4, "big"))
                y = int.from_bytes(block.digest(-(-bits // 8)), "big") % 2**bits
                if is_unit(y, N):
                    ys.append(y)
                    break
            else:
                raise AssertionError("no unit in 1000 blocks")
        return ys

    def respond(self, su, st, wit, n, com, e):
        return [self.root(st[0], wit["factors"], com["w"], y) for y in e]

    def root(self, N, factors, w, y):
        """The response to y; 1 stands where a root does not exist."""
        phi = 1
        for p, k in factors:
            phi *= p ** (k - 1) * (p - 1)
        z = pow(y, pow(N, -1, phi), N) if gcd(N, phi) == 1 else 1
        for a, b in ((0, 0), (1, 0), (0, 1), (1, 1)):
            x = _fourth_root((-1) ** a * w**b * y % N, factors)
            if x is not None:
                return {"x": x, "a": a, "b": b, "z": z}
        return {"x": 1, "a": 0, "b": 0, "z": z}

    def lengths(self, su, com, res):
        yield "roots length", lambda: len(res) == su.level.m

    def domains(self, su, st, com, res):
        N, w = st[0], com["w"]
        yield "N odd", lambda: N % 2 == 1
        yield "N size", lambda: int(N).bit_length() == 2 * su.level.pb
        yield "N composite", lambda: not probably_prime(N)
        yield "w unit", lambda: is_unit(w, N)
        yield "w Jacobi", lambda: jacobi(w, N) == -1
        for root in res:
            yield "x unit", lambda root=root: is_unit(root["x"], N)
            yield "z unit", lambda root=root: is_unit(root["z"], N)
            yield "a bit", lambda root=root: root["a"] in (0, 1)
            yield "b bit", lambda root=root: root["b"] in (0, 1)

    def equations(self, su, st, c, r, e):
        N = st[0]
        for root, y in zip(r, e, strict=True):
            yield "z^N = y", lambda root=root, y=y: pow(root["z"], N, N) == y % N
            yield (
                "x^4 = (-1)^a w^b y",
                lambda root=root, y=y: (
                    pow(root["x"], 4, N) == (-1) ** (root["a"] % 2) * pow(c["w"], root["b"], N) * y % N
                ),
            )


def _fourth_root(value, factors):
    """x with x^4 = value modulo the product of the prime powers, None where none is found."""
    x, modulus = 0, 1
    for p, k in factors:
        power = p**k
        order = p ** (k - 1) * (p - 1)
        odd = order
        while odd % 2 == 0:
            odd //= 2
        # Elements of odd order have a fourth root in their own group.
        if pow(value, odd, power) != 1:
            return None
        root = pow(value, pow(4, -1, odd), power)
        x += modulus * ((root - x) * pow(modulus, -1, power) % power)
        modulus *= power
    return x


class Prm(Relation):
    name, com_names, response_names = "prm", ("A",), ("z",)
    repeated = True

    def com_items(self, com):
        return [one["A"] for one in com]

    def to_wire(self, com, res):
        return [[one["A"] for one in com], [one["z"] for one in res]]

    def from_wire(self, value):
        return [{"A": A} for A in value[0]], [{"z": z} for z in value[1]]

    def draw(self, su, st, rnd):
        return {"a": rnd.randrange(st[0] // 4)}

    def first(self, su, st, wit, n):
        return {"A": pow(st[2], n["a"], st[0])}

    def answer(self, su, st, wit, n, e):
        return {"z": (n["a"] + e * wit["lam"]) % wit["phi"]}

    def lengths(self, su, com, res):
        yield "A length", lambda: len(com) == su.level.m
        yield "z length", lambda: len(res) == su.level.m

    def domains(self, su, st, com, res):
        N_hat, s, t = st
        for name, value in (("s", s), ("t", t)):
            yield f"{name} unit", lambda value=value: is_unit(value, N_hat)
            yield f"{name} trivial", lambda value=value: value not in (1, N_hat - 1)
        for one in com:
            yield "A unit", lambda one=one: is_unit(one["A"], N_hat)
        for one in res:
            yield "z range", lambda one=one: 0 <= one["z"] < N_hat

    def equations(self, su, st, c, r, e):
        N_hat, s, t = st
        yield "t^z = A*s^e", lambda: pow(t, r["z"], N_hat) == c["A"] * s**e % N_hat


class Dec(Relation):
    name, com_names, response_names = "dec", ("A", "B", "C"), ("z", "w", "v")
    repeated = True

    def bounds(self, su, st):
        level, n = su.level, int(st[6])
        ceil_log2 = next(bits for bits in range(64) if 2**bits >= n)
        return 2 ** (level.l + level.eps), 2 ** (level.l_prime + level.eps + 1 + ceil_log2 + level.eps)

    def draw(self, su, st, rnd):
        z_bound, w_bound = self.bounds(su, st)
        return {"alpha": pm(rnd, z_bound), "beta": pm(rnd, w_bound), "r": unit(rnd, st[0])}

    def first(self, su, st, wit, n):
        N0, K, _, _, _, base, _ = st
        return {
            "A": pow(K, -n["alpha"], N0 * N0) * enc_paillier(N0, n["beta"], n["r"]) % (N0 * N0),
            "B": n["beta"] * base,
            "C": n["alpha"] * su.group.G,
        }

    def answer(self, su, st, wit, n, e):
        return {
            "z": n["alpha"] + e * wit["x"],
            "w": n["beta"] + e * wit["y"],
            "v": n["r"] * wit["rho"] ** e % st[0],
        }

    def domains(self, su, st, com, res):
        N0, K, _, D, _, _, _ = st
        z_bound, w_bound = self.bounds(su, st)
        yield "K ciphertext", lambda: is_ciphertext(K, N0)
        yield "D ciphertext", lambda: is_ciphertext(D, N0)
        for one in com:
            yield "A ciphertext", lambda one=one: is_ciphertext(one["A"], N0)
        for one in res:
            yield "v unit", lambda one=one: is_unit(one["v"], N0)
            yield "z range", lambda one=one: abs(one["z"]) <= z_bound
            yield "w range", lambda one=one: abs(one["w"]) <= w_bound

    def equations(self, su, st, c, r, e):
        N0, K, X, D, S, base, _ = st
        N2 = N0 * N0
        yield (
            "enc(w; v)*K^-z = A*D^e",
            lambda: enc_paillier(N0, r["w"], r["v"]) * pow(K, -r["z"], N2) % N2 == c["A"] * D**e % N2,
        )
        yield "z*G = C + e*X", lambda: r["z"] * su.group.G == c["C"] + e * X
        yield "w*base = B + e*S", lambda: r["w"] * base == c["B"] + e * S


class AffGStar(Relation):
    name, com_names, response_names = "aff-g*", ("A", "R", "B"), ("z", "z'", "w", "v")
    repeated = True

    def draw(self, su, st, rnd):
        level = su.level
        return {
            "alpha": pm(rnd, 2 ** (level.l + level.eps)),
            "beta": pm(rnd, 2 ** (level.l_prime + level.eps)),
            "r": unit(rnd, st[0]),
            "s": unit(rnd, st[1]),
        }

    def first(self, su, st, wit, n):
        N0, N1, C, _, _, _ = st
        return {
            "A": pow(C, n["alpha"], N0 * N0) * enc_paillier(N0, n["beta"], n["r"]) % (N0 * N0),
            "R": n["alpha"] * su.group.G,
            "B": enc_paillier(N1, n["beta"], n["s"]),
        }

    def answer(self, su, st, wit, n, e):
        return {
            "z": n["alpha"] + e * wit["x"],
            "z'": n["beta"] + e * wit["y"],
            "w": n["r"] * wit["rho"] ** e % st[0],
            "v": n["s"] * wit["rho_y"] ** e % st[1],
        }

    def domains(self, su, st, com, res):
        N0, N1, C, D, Y, _ = st
        level = su.level
        yield "C ciphertext", lambda: is_ciphertext(C, N0)
        yield "D ciphertext", lambda: is_ciphertext(D, N0)
        yield "Y ciphertext", lambda: is_ciphertext(Y, N1)
        for one in com:
            yield "A ciphertext", lambda one=one: is_ciphertext(one["A"], N0)
            yield "B ciphertext", lambda one=one: is_ciphertext(one["B"], N1)
        for one in res:
            yield "w unit", lambda one=one: is_unit(one["w"], N0)
            yield "v unit", lambda one=one: is_unit(one["v"], N1)
            yield "z range", lambda one=one: abs(one["z"]) <= 2 ** (level.l + level.eps)
            yield "z' range", lambda one=one: abs(one["z'"]) <= 2 ** (level.l_prime + level.eps)

    def equations(self, su, st, c, r, e):
        N0, N1, C, D, Y, X = st
        N02, N12 = N0 * N0, N1 * N1
        yield (
            "C^z*enc0(z'; w) = A*D^e",
            lambda: pow(C, r["z"], N02) * enc_paillier(N0, r["z'"], r["w"]) % N02 == c["A"] * D**e % N02,
        )
        yield "z*G = R + e*X", lambda: r["z"] * su.group.G == c["R"] + e * X
        yield "enc1(z'; v) = B*Y^e", lambda: enc_paillier(N1, r["z'"], r["v"]) == c["B"] * Y**e % N12

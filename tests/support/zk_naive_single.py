"""The proofs with one scalar challenge, straight from protocol.md 5: sch, elog, enc-elg, aff-g, fac."""

# ruff: noqa: ARG002 - every relation answers the same questions, not every one needs all that it is told

from __future__ import annotations

from math import isqrt

from zk_naive import Relation, enc_paillier, is_ciphertext, is_unit, pm, unit


class Sch(Relation):
    name, com_names, response_names = "sch", ("A",), ("z",)

    def draw(self, su, st, rnd):
        return {"alpha": rnd.randrange(su.group.q)}

    def first(self, su, st, wit, n):
        return {"A": n["alpha"] * su.group.G}

    def answer(self, su, st, wit, n, e):
        return {"z": (n["alpha"] + e * wit["x"]) % su.group.q}

    def domains(self, su, st, com, res):
        yield "X identity", lambda: not st[0].is_identity
        yield "z range", lambda: 0 <= res["z"] < su.group.q

    def equations(self, su, st, c, r, e):
        yield "z*G = A + e*X", lambda: r["z"] * su.group.G == c["A"] + e * st[0]


class Elog(Relation):
    name, com_names, response_names = "elog", ("A", "N", "B"), ("z", "u")

    def draw(self, su, st, rnd):
        return {"alpha": rnd.randrange(su.group.q), "m": rnd.randrange(su.group.q)}

    def first(self, su, st, wit, n):
        _, _, X, _, h = st
        return {"A": n["alpha"] * su.group.G, "N": n["m"] * su.group.G + n["alpha"] * X, "B": n["m"] * h}

    def answer(self, su, st, wit, n, e):
        return {"z": (n["alpha"] + e * wit["lam"]) % su.group.q, "u": (n["m"] + e * wit["y"]) % su.group.q}

    def domains(self, su, st, com, res):
        yield "z range", lambda: 0 <= res["z"] < su.group.q
        yield "u range", lambda: 0 <= res["u"] < su.group.q

    def equations(self, su, st, c, r, e):
        L, M, X, Y, h = st
        yield "z*G = A + e*L", lambda: r["z"] * su.group.G == c["A"] + e * L
        yield "u*G + z*X = N + e*M", lambda: r["u"] * su.group.G + r["z"] * X == c["N"] + e * M
        yield "u*h = B + e*Y", lambda: r["u"] * h == c["B"] + e * Y


class EncElg(Relation):
    name, com_names, response_names = "enc-elg", ("S", "D", "Y", "Z", "T"), ("z1", "w", "z2", "z3")

    def draw(self, su, st, rnd):
        N0, N_hat, level = st[0], st[5], su.level
        return {
            "alpha": pm(rnd, 2 ** (level.l + level.eps)),
            "mu": pm(rnd, 2**level.l * N_hat),
            "r": unit(rnd, N0),
            "beta": rnd.randrange(su.group.q),
            "gam": pm(rnd, 2 ** (level.l + level.eps) * N_hat),
        }

    def first(self, su, st, wit, n):
        N0, _, A, _, _, N_hat, s, t = st
        return {
            "S": pow(s, wit["x"], N_hat) * pow(t, n["mu"], N_hat) % N_hat,
            "D": enc_paillier(N0, n["alpha"], n["r"]),
            "Y": n["beta"] * A + n["alpha"] * su.group.G,
            "Z": n["beta"] * su.group.G,
            "T": pow(s, n["alpha"], N_hat) * pow(t, n["gam"], N_hat) % N_hat,
        }

    def answer(self, su, st, wit, n, e):
        return {
            "z1": n["alpha"] + e * wit["x"],
            "w": (n["beta"] + e * wit["b"]) % su.group.q,
            "z2": n["r"] * pow(wit["rho"], e, st[0]) % st[0],
            "z3": n["gam"] + e * n["mu"],
        }

    def domains(self, su, st, com, res):
        N0, C, N_hat, level = st[0], st[1], st[5], su.level
        yield "S unit", lambda: is_unit(com["S"], N_hat)
        yield "T unit", lambda: is_unit(com["T"], N_hat)
        yield "D ciphertext", lambda: is_ciphertext(com["D"], N0)
        yield "C ciphertext", lambda: is_ciphertext(C, N0)
        yield "z2 unit", lambda: is_unit(res["z2"], N0)
        yield "w range", lambda: 0 <= res["w"] < su.group.q
        yield "z1 range", lambda: abs(res["z1"]) <= 2 ** (level.l + level.eps)
        yield "z3 range", lambda: abs(res["z3"]) <= 2 ** (level.l + level.eps + 1) * N_hat

    def equations(self, su, st, c, r, e):
        N0, C, A, B, X, N_hat, s, t = st
        G, N2 = su.group.G, N0 * N0
        yield (
            "enc(z1; z2) = D*C^e",
            lambda: enc_paillier(N0, r["z1"], r["z2"]) == c["D"] * pow(C, e, N2) % N2,
        )
        yield "w*A + z1*G = Y + e*X", lambda: r["w"] * A + r["z1"] * G == c["Y"] + e * X
        yield "w*G = Z + e*B", lambda: r["w"] * G == c["Z"] + e * B
        yield (
            "s^z1 t^z3 = T*S^e",
            lambda: (
                pow(s, r["z1"], N_hat) * pow(t, r["z3"], N_hat) % N_hat
                == c["T"] * pow(c["S"], e, N_hat) % N_hat
            ),
        )


class AffG(Relation):
    name = "aff-g"
    com_names = ("A", "Bx", "By", "E", "S", "F", "T")
    response_names = ("z1", "z2", "z3", "z4", "w", "w_y")

    def draw(self, su, st, rnd):
        N0, N1, N_hat, level = st[0], st[1], st[6], su.level
        return {
            "alpha": pm(rnd, 2 ** (level.l + level.eps)),
            "beta": pm(rnd, 2 ** (level.l_prime + level.eps)),
            "r": unit(rnd, N0),
            "r_y": unit(rnd, N1),
            "gam": pm(rnd, 2 ** (level.l + level.eps) * N_hat),
            "del": pm(rnd, 2 ** (level.l + level.eps) * N_hat),
            "m": pm(rnd, 2**level.l * N_hat),
            "mu": pm(rnd, 2**level.l * N_hat),
        }

    def first(self, su, st, wit, n):
        N0, N1, C, _, _, _, N_hat, s, t = st
        return {
            "A": pow(C, n["alpha"], N0 * N0) * enc_paillier(N0, n["beta"], n["r"]) % (N0 * N0),
            "Bx": n["alpha"] * su.group.G,
            "By": enc_paillier(N1, n["beta"], n["r_y"]),
            "E": pow(s, n["alpha"], N_hat) * pow(t, n["gam"], N_hat) % N_hat,
            "S": pow(s, wit["x"], N_hat) * pow(t, n["m"], N_hat) % N_hat,
            "F": pow(s, n["beta"], N_hat) * pow(t, n["del"], N_hat) % N_hat,
            "T": pow(s, wit["y"], N_hat) * pow(t, n["mu"], N_hat) % N_hat,
        }

    def answer(self, su, st, wit, n, e):
        return {
            "z1": n["alpha"] + e * wit["x"],
            "z2": n["beta"] + e * wit["y"],
            "z3": n["gam"] + e * n["m"],
            "z4": n["del"] + e * n["mu"],
            "w": n["r"] * pow(wit["rho"], e, st[0]) % st[0],
            "w_y": n["r_y"] * pow(wit["rho_y"], e, st[1]) % st[1],
        }

    def domains(self, su, st, com, res):
        N0, N1, C, D, Y, _, N_hat, _, _ = st
        level = su.level
        yield "A ciphertext", lambda: is_ciphertext(com["A"], N0)
        yield "C ciphertext", lambda: is_ciphertext(C, N0)
        yield "D ciphertext", lambda: is_ciphertext(D, N0)
        yield "By ciphertext", lambda: is_ciphertext(com["By"], N1)
        yield "Y ciphertext", lambda: is_ciphertext(Y, N1)
        yield "E unit", lambda: is_unit(com["E"], N_hat)
        yield "S unit", lambda: is_unit(com["S"], N_hat)
        yield "F unit", lambda: is_unit(com["F"], N_hat)
        yield "T unit", lambda: is_unit(com["T"], N_hat)
        yield "w unit", lambda: is_unit(res["w"], N0)
        yield "w_y unit", lambda: is_unit(res["w_y"], N1)
        yield "z1 range", lambda: abs(res["z1"]) <= 2 ** (level.l + level.eps)
        yield "z2 range", lambda: abs(res["z2"]) <= 2 ** (level.l_prime + level.eps)
        yield "z3 range", lambda: abs(res["z3"]) <= 2 ** (level.l + level.eps + 1) * N_hat
        yield "z4 range", lambda: abs(res["z4"]) <= 2 ** (level.l + level.eps + 1) * N_hat

    def equations(self, su, st, c, r, e):
        N0, N1, C, D, Y, X, N_hat, s, t = st
        N02, N12 = N0 * N0, N1 * N1
        yield (
            "C^z1*enc0(z2; w) = A*D^e",
            lambda: (
                pow(C, r["z1"], N02) * enc_paillier(N0, r["z2"], r["w"]) % N02
                == c["A"] * pow(D, e, N02) % N02
            ),
        )
        yield "z1*G = Bx + e*X", lambda: r["z1"] * su.group.G == c["Bx"] + e * X
        yield (
            "enc1(z2; w_y) = By*Y^e",
            lambda: enc_paillier(N1, r["z2"], r["w_y"]) == c["By"] * pow(Y, e, N12) % N12,
        )
        yield (
            "s^z1 t^z3 = E*S^e",
            lambda: (
                pow(s, r["z1"], N_hat) * pow(t, r["z3"], N_hat) % N_hat
                == c["E"] * pow(c["S"], e, N_hat) % N_hat
            ),
        )
        yield (
            "s^z2 t^z4 = F*T^e",
            lambda: (
                pow(s, r["z2"], N_hat) * pow(t, r["z4"], N_hat) % N_hat
                == c["F"] * pow(c["T"], e, N_hat) % N_hat
            ),
        )


class Fac(Relation):
    name, com_names, response_names = "fac", ("P", "Q", "A", "B", "T"), ("z1", "z2", "w1", "w2", "v")

    def draw(self, su, st, rnd):
        N0, N_hat, level = st[0], st[1], su.level
        slack = 2 ** (level.l + level.eps)
        return {
            "alpha": pm(rnd, slack * isqrt(N0)),
            "beta": pm(rnd, slack * isqrt(N0)),
            "mu": pm(rnd, 2**level.l * N_hat),
            "nu": pm(rnd, 2**level.l * N_hat),
            "r": pm(rnd, slack * N0 * N_hat),
            "x": pm(rnd, slack * N_hat),
            "y": pm(rnd, slack * N_hat),
        }

    def first(self, su, st, wit, n):
        _, N_hat, s, t = st
        Q = pow(s, wit["q_"], N_hat) * pow(t, n["nu"], N_hat) % N_hat
        return {
            "P": pow(s, wit["p"], N_hat) * pow(t, n["mu"], N_hat) % N_hat,
            "Q": Q,
            "A": pow(s, n["alpha"], N_hat) * pow(t, n["x"], N_hat) % N_hat,
            "B": pow(s, n["beta"], N_hat) * pow(t, n["y"], N_hat) % N_hat,
            "T": pow(Q, n["alpha"], N_hat) * pow(t, n["r"], N_hat) % N_hat,
        }

    def answer(self, su, st, wit, n, e):
        return {
            "z1": n["alpha"] + e * wit["p"],
            "z2": n["beta"] + e * wit["q_"],
            "w1": n["x"] + e * n["mu"],
            "w2": n["y"] + e * n["nu"],
            "v": n["r"] - e * n["nu"] * wit["p"],
        }

    def domains(self, su, st, com, res):
        N0, N_hat, level = st[0], st[1], su.level
        for name in self.com_names:
            yield f"{name} unit", lambda name=name: is_unit(com[name], N_hat)
        slack = 2 ** (level.l + level.eps)
        yield "z1 range", lambda: abs(res["z1"]) <= slack * isqrt(N0)
        yield "z2 range", lambda: abs(res["z2"]) <= slack * isqrt(N0)
        yield "w1 range", lambda: abs(res["w1"]) <= 2 * slack * N_hat
        yield "w2 range", lambda: abs(res["w2"]) <= 2 * slack * N_hat
        yield "v range", lambda: abs(res["v"]) <= 2 * slack * N0 * N_hat

    def equations(self, su, st, c, r, e):
        N0, N_hat, s, t = st
        yield (
            "s^z1 t^w1 = A*P^e",
            lambda: (
                pow(s, r["z1"], N_hat) * pow(t, r["w1"], N_hat) % N_hat
                == c["A"] * pow(c["P"], e, N_hat) % N_hat
            ),
        )
        yield (
            "s^z2 t^w2 = B*Q^e",
            lambda: (
                pow(s, r["z2"], N_hat) * pow(t, r["w2"], N_hat) % N_hat
                == c["B"] * pow(c["Q"], e, N_hat) % N_hat
            ),
        )
        yield (
            "Q^z1 t^v = T*s^(N0*e)",
            lambda: (
                pow(c["Q"], r["z1"], N_hat) * pow(t, r["v"], N_hat) % N_hat
                == c["T"] * pow(s, N0 * e, N_hat) % N_hat
            ),
        )

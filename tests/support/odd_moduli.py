"""Primes of every residue class, and what proofs about moduli of the wrong shape need."""

from __future__ import annotations

from random import Random

import gmpy2
from zk_cases import Case
from zk_naive import jacobi, unit


def prime(bits: int, residue: int, modulus: int, seed: object = 0) -> int:
    """A prime of exactly `bits` bits, top two set, in a residue class."""
    rnd = Random(repr((bits, residue, modulus, seed)))
    while True:
        p = rnd.getrandbits(bits) | 3 << bits - 2
        p += (residue - p) % modulus
        if p.bit_length() == bits and gmpy2.is_prime(p):
            return p


def separating_unit(one: Case) -> int:
    """w with Jacobi symbol -1 that is a square modulo the first prime: with -1 it reaches all four classes."""
    N_odd = int(one.statement.N)
    first = one.wit["factors"][0][0]
    rnd = Random("separating")
    while True:
        w = unit(rnd, N_odd)
        if jacobi(w, N_odd) == -1 and jacobi(w, first) == 1:
            return w

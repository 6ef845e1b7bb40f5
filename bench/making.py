"""What making its messages costs a presigning signer, by step: on the spot, with tables, and with filled pools, in T.

    python bench/making.py

Processor time of one signer of two for one presignature, medians. The first run searches primes and keeps them in bench/.cache.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.keys import SUITE, aux_sets, key_shares
from bench.measure import Reference
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_checks import Round1
from tss.cggmp24.presign_prove import GAMMA, Item, K, X, fill_for
from tss.effects import SessionContext
from tss.envelope import holder
from tss.modexp import powmod
from tss.randomizers import PLAIN, Pool, Randomizers

RUNS: Final = 5
ME, J = holder(1), holder(2)


def spent(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.thread_time()
    result = call()
    return 1000 * (time.thread_time() - began), result


def signer(me: int, randomizers: Randomizers) -> Presigning:
    ctx = SessionContext(SUITE, os.urandom(32), holder(me), {ME: b"", J: b""}, os.urandom)
    return Presigning(ctx, key_shares(2, 2)[me], aux_sets(2)[me], ME, randomizers)


def steps(run: Presigning) -> Iterator[tuple[str, float]]:
    """One item, in milliseconds a step."""
    other = signer(2, PLAIN).draw(0)
    cost, item = spent(lambda: run.draw(0))
    drawn: Item = item
    yield "K, G and the points", cost
    for label in (K, GAMMA):
        yield "enc-elg, two", spent(partial(run.prove_round1, drawn, J, label))[0]
    drawn.round1[J] = Round1(*other.round1_value())
    drawn.Gamma_j[ME] = run.gamma_proof(drawn)[0]
    cost, drawn.powers[J] = spent(lambda: run.powers(drawn, J))
    yield "K_j^gamma, K_j^alpha twice", cost
    alphas = [drawn.gamma, drawn.powers[J].ahead.alpha, drawn.powers[J].ahead_hat.alpha]
    N2 = run.keys[J].N2
    yield "(the same one by one)", spent(lambda: [powmod(other.K, alpha, N2) for alpha in alphas])[0]
    cost, drawn.x_powers[J] = spent(lambda: run.x_power(drawn, J))
    yield "K_j^x_i", cost
    cost, run.s_x[J] = spent(lambda: run.x_commitment(J))
    yield "s_j^x_i, once a run", cost
    for label in (GAMMA, X):
        yield "D, F and aff-g, two", spent(partial(run.half_mask, drawn, J, label))[0]


def filled(presignatures: int) -> tuple[Pool, float, float]:
    """A pool, T of its tables, T of its pairs for each presignature."""
    pool, rng, aux = Pool(SUITE.level), os.urandom, aux_sets(2)[1]
    fill_for(pool, aux, 2, 0)
    tables = spent(lambda: [None for _ in iter(lambda: pool.step(rng), False)])[0]
    fill_for(pool, aux, 2, presignatures)
    pairs = spent(lambda: [None for _ in iter(lambda: pool.step(rng), False)])[0]
    return pool, tables, pairs / max(presignatures, 1)


def main() -> None:
    reference = Reference()
    reference.sample()
    tables, cost_of_tables, _ = filled(0)
    pool, _, cost_of_pairs = filled(RUNS)
    reference.sample()
    T = reference.ms
    columns: dict[str, dict[str, float]] = {}
    for name, randomizers in (("on the spot", PLAIN), ("tables", tables), ("pools", pool)):
        runs: list[dict[str, float]] = []
        for _ in range(RUNS):
            runs.append({})
            for step, ms in steps(signer(1, randomizers)):
                runs[-1][step] = runs[-1].get(step, 0) + ms / T
        columns[name] = {step: median(run[step] for run in runs) for step in runs[0]}
    print(f"T = {T:.2f} ms\n{'':28}" + "".join(f"{name:>13}" for name in columns))
    for step in columns["pools"]:
        print(f"{step:28}" + "".join(f"{column[step]:13.2f}" for column in columns.values()))
    sums = [sum(ms for step, ms in column.items() if step[0] != "(") for column in columns.values()]
    print(f"{'together':28}" + "".join(f"{cost:13.2f}" for cost in sums))
    print(
        f"\nin idle time: tables {cost_of_tables / T:.0f} T once, pairs {cost_of_pairs / T:.1f} T a presignature"
    )


if __name__ == "__main__":
    main()

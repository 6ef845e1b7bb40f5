"""FROST on Ed25519, 2 of 3: what one party computes for a key and for a signature, without envelopes, as the peers measure it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Final

from bench.measure import Figures, Reference, Topic, cpu_ms
from tss.cggmp24.keygen import public_key
from tss.envelope import holder
from tss.frost import dkg
from tss.frost.nonces import NoncePair
from tss.frost.terms import check_share_of_signature, combine, signature_share, terms
from tss.judge.record import Bystander
from tss.params import FROST_ED25519
from tss.records import KeyShare
from tss.vss import Polynomial

N: Final = 3
THRESHOLD: Final = 2
S: Final = (1, 2)
MESSAGE: Final = b"a message of the usual length for a signature, as transactions have it"
TIMES: Final = 300


def _dealt() -> dict[int, KeyShare]:
    f = Polynomial.random(FROST_ED25519.group, THRESHOLD, os.urandom)
    public = {j: FROST_ED25519.group.mul_base(f.evaluate(j)) for j in range(1, N + 1)}
    ids = (os.urandom(32), os.urandom(32))
    return {
        j: KeyShare(FROST_ED25519, *ids, THRESHOLD, j, f.commit()[0], public, b"", f.evaluate(j))
        for j in public
    }


def _signing(reference: Reference) -> Figures:
    shares = _dealt()
    X, public = shares[1].X, shares[1].public_shares
    pairs = {j: NoncePair.draw(shares[j], os.urandom) for j in S}
    commitments = {j: pair.commitments for j, pair in pairs.items()}
    secrets = {j: pair.spend() for j, pair in pairs.items()}
    at = terms(X, MESSAGE, commitments)
    z = {j: signature_share(at, j, shares[j].x, *secrets[j]) for j in S}

    def share() -> None:
        signature_share(terms(X, MESSAGE, commitments), 1, shares[1].x, *secrets[1])

    def aggregate() -> None:
        found = terms(X, MESSAGE, commitments)
        for j in S:
            check_share_of_signature(found, j, public[j], z[j])
        combine(found, list(z.values()))

    reference.sample()
    figures = {
        "frost_round1": cpu_ms(partial(NoncePair.draw, shares[1], os.urandom), TIMES),
        "frost_round2": cpu_ms(share, TIMES),
        "frost_aggregate": cpu_ms(aggregate, TIMES),
    }
    reference.sample()
    return figures


def _keygen(reference: Reference) -> Figures:
    parties = [holder(j) for j in range(1, N + 1)]
    ctx = Bystander(FROST_ED25519, os.urandom(32), dict.fromkeys(parties, b""))

    def reveal(j: int) -> tuple[Polynomial, list[Any]]:
        f = Polynomial.random(FROST_ED25519.group, THRESHOLD, os.urandom)
        C = f.commit()
        pop = dkg.prove_possession(ctx, j, f.coefficients[0], C[0], os.urandom)
        return f, [C, pop.R, pop.mu, os.urandom(32)]

    others = {j: reveal(j) for j in range(2, N + 1)}
    committed = {j: ctx.hc("frost-commit", ctx.sid, j, *said) for j, (_, said) in others.items()}

    def one_party() -> None:
        _, said = reveal(1)
        for j, (f, theirs) in others.items():
            dkg.check_reveal(ctx, THRESHOLD, holder(j), committed[j], theirs)
            dkg.check_told(holder(j), holder(1), theirs, f.evaluate(1))
        public_key(ctx, THRESHOLD, [said[0], *(theirs[0] for _, theirs in others.values())])

    reference.sample()
    figures = {"frost_keygen": cpu_ms(one_party, TIMES)}
    reference.sample()
    return figures


TOPICS: Final = (
    Topic(("frost_round1", "frost_round2", "frost_aggregate"), "ms", _signing),
    Topic(("frost_keygen",), "ms", _keygen),
)

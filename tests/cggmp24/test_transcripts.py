"""Golden transcripts: with fixed seeds every byte that a party signs is fixed. They pin the wire.

A difference means that old and new parties cannot talk, which needs a new PROTO; or that the same randomness is used in
another order, which is worth a second look. transcripts.json is made by
`PYTHONPATH=tests/support python tests/cggmp24/test_transcripts.py`, with the primes that are in it. Sealing is randomised, so
what is pinned of a peer-to-peer message is its signed content.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from cggmp24_cheating import PH
from cggmp24_testing import Signers, aux_of, aux_program, dealt_key, primes_of, refresh_program
from session_testing import Member, Program, Round0, Runtime, Session, Setup, holder, identity_of
from tss_testing import SMALL_SECP, TINY, SeededRng

from tss.cggmp24 import aux_info, keygen, presign, refresh, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import Signature, SignRequest
from tss.effects import run_serially
from tss.encoding import encode
from tss.envelope import decode_body
from tss.params import Suite
from tss.records import AuxSet, KeyShare

GOLDEN = Path(__file__).with_name("transcripts.json")
DIGEST = hashlib.sha256(b"golden").digest()


def lockstep(
    programs: Mapping[int, Program], suite: Suite, kind: str, tail: Any, round0: Round0
) -> dict[str, Any]:
    """Run a session in one fixed order: jobs first, then the oldest envelope. What everybody signed, and the results."""
    members = tuple(Member(holder(j), identity_of(holder(j)).public) for j in programs)
    sessions: dict[int, Session] = {}
    bodies: list[bytes] = []
    stages: list[str] = []

    def signing(j: int) -> Callable[[bytes], bytes]:
        def sign_and_note(encoded: bytes) -> bytes:
            bodies.append(encoded)
            return identity_of(holder(j)).sign(encoded)

        return sign_and_note

    for j, program in programs.items():
        setup = Setup(suite, kind, holder(j), members, PH, tail, round0)
        progress = stages.append if j == min(programs) else lambda _stage: None
        runtime = Runtime(SeededRng(("golden", j)), signing(j), lambda _record: None, progress)
        sessions[j] = Session(setup, program, runtime)
    queue: list[tuple[bytes, int]] = []

    def post(sender: int, out: Any) -> None:
        queue.extend((o.envelope, j) for o in out for j in sessions if j != sender)

    for j, session in sessions.items():
        post(j, session.start())
    while True:
        busy = next((j for j, session in sessions.items() if session.jobs), None)
        if busy is not None:
            post(busy, sessions[busy].completed(run_serially(sessions[busy].jobs)))
        elif queue:
            envelope, j = queue.pop(0)
            if not sessions[j].finished:
                post(j, sessions[j].receive(envelope))
        else:
            break
    assert [session.error for session in sessions.values()] == [None] * len(sessions)
    return {
        "sid": sessions[min(sessions)].sid.hex(),  # type: ignore[union-attr]
        "stages": stages,
        "messages": [line(encoded) for encoded in bodies],
        "results": {str(j): digest_of(session.result) for j, session in sessions.items()},
    }


def line(encoded: bytes) -> str:
    """Who signed what to whom, how long it is, and its SHA-256."""
    body = decode_body(encoded)
    to = "all" if body.to is None else str(body.to.index)
    digest = hashlib.sha256(encoded).hexdigest()
    return f"{body.sender.index} to {to}: {body.kind} {body.round}, {len(encoded)} bytes, {digest}"


def digest_of(result: Any) -> str:
    if isinstance(result, (KeyShare, AuxSet)):
        return hashlib.sha256(result.to_bytes()).hexdigest()
    if isinstance(result, refresh.Refreshed):
        records = [*result.shares, *([result.aux] if result.aux else [])]
        return hashlib.sha256(b"".join(record.to_bytes() for record in records)).hexdigest()
    if isinstance(result, Signature):
        return f"{result.r:x} {result.s:x} {result.v}"
    values = []
    for part in result:
        assert isinstance(part, Presignature)
        public, secrets = part.public, part._secrets
        points = [[j, public.Delta[j], public.S[j]] for j in public.signers]
        values.append([public.id, public.Gamma, points, *secrets])  # type: ignore[misc]
    return hashlib.sha256(encode(values)).hexdigest()


def stock(signers: Signers, path: tuple[int, ...]) -> dict[str, Any]:
    request, parts = SignRequest(DIGEST, path), signers.stock()
    e = parts[signers.owner.index].promise(DIGEST, path, signers.tau(request), SeededRng("e"))
    programs = {j: signers._stock_program(parts[j], request, e) for j in signers.S}
    tail = sign.tail(parts[signers.S[0]].id, request, signers.tau(request), signers.S, e)
    return lockstep(programs, signers.suite, "sign", tail, Round0.NONE)


def presigned(signers: Signers, batch: int) -> dict[str, Any]:
    j = signers.S[0]
    tail = presign.tail(signers.shares[j], signers.aux[j], signers.S, signers.owner.index, batch)
    programs = {i: signers._presign_program(i, batch) for i in signers.S}
    return lockstep(programs, signers.suite, "presign", tail, Round0.WITH_ROUND_1)


def full(signers: Signers, path: tuple[int, ...]) -> dict[str, Any]:
    j, request = signers.S[0], SignRequest(DIGEST, path)
    tail = presign.full_tail(signers.shares[j], signers.aux[j], signers.S, signers.owner.index, request)
    programs = {i: signers._full_program(i, request) for i in signers.S}
    return lockstep(programs, signers.suite, "full-sign", tail, Round0.WITH_ROUND_1)


def new_key(suite: Suite, n: int, t: int) -> dict[str, Any]:
    programs = dict.fromkeys(range(1, n + 1), lambda ctx: keygen.keygen(ctx, t, b"a" * 32))
    return lockstep(programs, suite, "keygen", keygen.tail(n, t), Round0.BLOCKING)


def new_aux(n: int) -> dict[str, Any]:
    programs = {j: aux_program(primes) for j, primes in golden_primes(TINY, range(1, n + 1)).items()}
    return lockstep(programs, TINY, "aux", aux_info.tail([b"k" * 32]), Round0.BLOCKING)


def refreshed(n: int) -> dict[str, Any]:
    keys = [dealt_key(TINY, n, 2), dealt_key(TINY, n, n, seed=1)]
    primes = golden_primes(TINY, range(1, n + 1))
    programs = {j: refresh_program([key[j] for key in keys], primes[j]) for j in primes}
    tail = refresh.tail([key[1] for key in keys], [b"a" * 32, None])
    return lockstep(programs, TINY, "refresh", tail, Round0.BLOCKING)


def golden_primes(suite: Suite, parties: Iterable[int]) -> dict[int, list[int]]:
    """The primes of the golden file: another way to search for primes changes nothing on the wire."""
    known = json.loads(GOLDEN.read_text())["primes"][suite.group.name] if GOLDEN.exists() else {}
    if not known:
        return {j: list(primes) for j, primes in primes_of(suite, 4).items() if j in parties}
    return {j: [int(p, 16) for p in known[str(j)]] for j in parties}


@lru_cache
def golden_aux(suite: Suite, S: tuple[int, ...]) -> dict[int, AuxSet]:
    return aux_of(suite, golden_primes(suite, S))


class Golden(Signers):
    aux = property(lambda self: golden_aux(self.suite, self.S))  # type: ignore[assignment]


TWO = Golden((1, 3), 3, owner_=3)
THREE = Golden((1, 2, 4), 4, owner_=2)
RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "keygen, toy curve, 2 of 3": lambda: new_key(TINY, 3, 2),
    "keygen, secp256k1, 2 of 2": lambda: new_key(SMALL_SECP, 2, 2),
    "aux, toy curve, 3 parties": lambda: new_aux(3),
    "refresh, toy curve, 3 parties, 2 accounts": lambda: refreshed(3),
    "presign, toy curve, 2 items, 3 signers": lambda: presigned(THREE, 2),
    "full-sign, toy curve, 2 signers": lambda: full(TWO, ()),
    "full-sign, secp256k1, 2 signers, m/1/2": lambda: full(replace(TWO, suite=SMALL_SECP), (1, 2)),
    "sign, toy curve, 2 signers": lambda: stock(TWO, ()),
    "sign, secp256k1, 2 signers, m/7": lambda: stock(replace(TWO, suite=SMALL_SECP), (7,)),
    "sign, secp256k1, 3 signers, m/7": lambda: stock(replace(THREE, suite=SMALL_SECP), (7,)),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_wire_is_what_it_was(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    made = RUNS[name]()
    assert made["messages"] == golden["messages"]
    assert made == golden


def test_every_golden_transcript_is_run() -> None:
    assert set(json.loads(GOLDEN.read_text())) == {"primes", *RUNS}


if __name__ == "__main__":
    used = ((TINY, (1, 2, 3, 4)), (SMALL_SECP, (1, 3)))
    kept = {
        suite.group.name: {str(j): [hex(p) for p in primes] for j, primes in golden_primes(suite, S).items()}
        for suite, S in used
    }
    json.dump({"primes": kept, **{name: make() for name, make in RUNS.items()}}, sys.stdout, indent=1)
    sys.stdout.write("\n")

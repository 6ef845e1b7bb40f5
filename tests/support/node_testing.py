"""What tests of the node share: dealt shares and aux sets, committees, stores with cheap seals."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from tss_testing import TINY, SeededRng, paillier_key, pedersen_key

from participant.committee import Committee
from participant.identity import NodeKeys
from participant.sealing import KeyFileWrapper
from participant.store import NewAux, NewShare, NewState, Store
from tss.params import Suite
from tss.rand import scalar
from tss.records import AuxPublic, AuxSet, KeyShare
from tss.transcript import hash_commit

SEAL_KEY = bytes(range(32))


def deal(suite: Suite = TINY, t: int = 2, n: int = 3, seed: object = 0) -> list[KeyShare]:
    """Shares of one key at points 1..n, as a trusted dealer would make them."""
    rng, group = SeededRng(("deal", seed, t, n)), suite.group
    coefficients = [1 + scalar(rng, group.q - 1) for _ in range(t)]
    xs = {i: sum(c * i**k for k, c in enumerate(coefficients)) % group.q for i in range(1, n + 1)}
    public = {i: group.mul_base(x) for i, x in xs.items()}
    X, chain_code = group.mul_base(coefficients[0]), rng(32)
    key_id = hash_commit(suite.proto, "key", b"dealt", X)
    epoch = hash_commit(suite.proto, "share-epoch", b"dealt", X, list(public.values()))
    return [KeyShare(suite, key_id, epoch, t, i, X, dict(public), chain_code, x) for i, x in xs.items()]


@lru_cache(maxsize=8)
def _aux_keys(suite: Suite, n: int, seed: object) -> tuple[tuple[object, object], ...]:
    return tuple((paillier_key(suite.level, i, seed), pedersen_key(suite.level, i, seed)) for i in range(n))


def next_epoch(share: KeyShare, seed: object = "next") -> KeyShare:
    """A share of the same key in a later epoch (it differs in nothing else: the store does not look inside)."""
    return replace(share, share_epoch=hash_commit("test", "epoch", repr(seed)))


def aux_sets(suite: Suite = TINY, n: int = 3, seed: object = 0) -> list[AuxSet]:
    """The aux sets of parties at points 1..n."""
    keys = _aux_keys(suite, n, seed)
    parties = {
        i + 1: AuxPublic(paillier.public.N, *pedersen.public.as_list())  # type: ignore[attr-defined]
        for i, (paillier, pedersen) in enumerate(keys)
    }
    aux_id = hash_commit(suite.proto, "aux", *[party.as_list() for party in parties.values()])
    return [
        AuxSet(suite, aux_id, i + 1, dict(parties), paillier, pedersen)  # type: ignore[arg-type]
        for i, (paillier, pedersen) in enumerate(keys)
    ]


def node_keys(n: int = 3, seed: object = 0) -> list[NodeKeys]:
    """The keys of n nodes, by committee index."""
    rng = SeededRng(("nodes", seed))
    return sorted((NodeKeys.generate(rng) for _ in range(n)), key=lambda keys: keys.identity)


def committee_of(n: int = 3, t: int = 2, seed: object = 0) -> Committee:
    """The committee of `node_keys`."""
    return Committee.of([keys.card() for keys in node_keys(n, seed)], t)


def wrapper() -> KeyFileWrapper:
    """A sealing key that costs nothing."""
    return KeyFileWrapper(SEAL_KEY)


def new_store(directory: Path, name: str = "store.db") -> Store:
    """A fresh store that knows `committee_of()` and has an identity of it."""
    store = Store.create(directory / name, wrapper())
    store.put_identity(node_keys()[0])
    store.accounts.put_committee(committee_of())
    return store


def reopen(store: Store) -> Store:
    """Close and open again, as a restarted daemon does."""
    store.close()
    return Store.open(store.path, wrapper())


def share_state(account_id: str, share: KeyShare) -> NewState:
    """What a finished key generation makes pending."""
    return NewState(shares=(NewShare.of(account_id, share),))


def aux_state(aux: AuxSet, *accounts: str) -> NewState:
    """What a finished aux run makes pending."""
    return NewState(aux=NewAux.of(aux, accounts))


def sid_of(number: int) -> bytes:
    """A session id."""
    return hash_commit("test", "sid", number)


def raw(path: Path, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    """What somebody with the file, but without the key, can do: run SQL on a store that is closed."""
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()

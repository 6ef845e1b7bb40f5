"""Records at their limits: the smallest and largest that are taken, and that the decoder refuses what is beyond."""

from dataclasses import replace

import pytest
from node_testing import aux_sets, deal
from tss_testing import TINY

from tss import encoding as enc
from tss.errors import ShareCorrupt
from tss.records import AuxSet, KeyShare

Q = TINY.group.q
LEVEL = TINY.level.as_list()


def share_fields(share, **change):
    """The encoded share with fields replaced."""
    fields = {
        "tag": "key-share/1",
        "proto": TINY.proto,
        "level": LEVEL,
        "key_id": share.key_id,
        "share_epoch": share.share_epoch,
        "t": share.t,
        "me": share.me,
        "X": share.X,
        "shares": [[i, share.public_shares[i]] for i in share.indices],
        "chain_code": share.chain_code,
        "x": share.x,
    }
    return enc.encode(list((fields | change).values()))


def aux_fields(aux, **change):
    """The encoded aux set with fields replaced."""
    fields = {
        "tag": "aux-set/1",
        "proto": TINY.proto,
        "level": LEVEL,
        "aux_id": aux.aux_id,
        "me": aux.me,
        "parties": [[i, *aux.parties[i].as_list()] for i in aux.indices],
        "own": [aux.paillier.p, aux.paillier.q_],
        "pedersen": [aux.pedersen.p, aux.pedersen.q_, aux.pedersen.lam],
    }
    return enc.encode(list((fields | change).values()))


SHARE, AUX = deal()[0], aux_sets()[0]
PRIME_BITS, MODULUS_BITS = TINY.level.pb, TINY.level.modulus_bits


def polynomial_share(points, coefficients):
    """The first party's share of a polynomial's value at 0, at any points."""
    xs = {i: sum(c * i**k for k, c in enumerate(coefficients)) % Q for i in points}
    public = {i: TINY.group.mul_base(x) for i, x in xs.items()}
    me = points[0]
    X = TINY.group.mul_base(coefficients[0])
    return replace(SHARE, t=len(coefficients), me=me, X=X, public_shares=public, x=xs[me])


@pytest.mark.parametrize(
    "share",
    [
        polynomial_share([Q - 1, 300, 1], [7, 5]),
        polynomial_share([3, 2], [Q - 5, 2]),
        polynomial_share([5, 9, 70000], [Q - 6, 1]),
    ],
    ids=["large points", "x = 1", "x = q - 1"],
)
def test_shares_at_the_limits_are_taken(share):
    again = KeyShare.from_bytes(TINY, share.to_bytes())
    assert again == share
    assert again.indices == sorted(share.public_shares)
    assert list(again.public_shares) == again.indices


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tag": "k" * 64}, f"key share is of kind '{'k' * 64}', not 'key-share/1'"),
        ({"tag": "k" * 65}, "key share is damaged: "),
        ({"proto": "p" * 64}, f"key share is of suite '{'p' * 64}', not '{TINY.proto}'"),
        ({"proto": "p" * 65}, "key share is damaged: "),
        ({"level": [2**32 - 1, *LEVEL[1:]]}, "key share was made with other security parameters"),
        ({"level": [2**32, *LEVEL[1:]]}, "key share is damaged: "),
        ({"level": LEVEL[:4]}, "key share is damaged: "),
        ({"level": [*LEVEL, 1]}, "key share is damaged: "),
        ({"key_id": bytes(31)}, "key share is damaged: "),
        ({"share_epoch": bytes(33)}, "key share is damaged: "),
        ({"chain_code": bytes(33)}, "key share is damaged: "),
        ({"t": 255}, "threshold 255 of 3 is not 2 <= t <= n <= 16"),
        ({"t": 256}, "key share is damaged: "),
        ({"me": Q}, "key share is damaged: "),
        ({"me": Q - 1}, "this party is not among the share's parties"),
        ({"x": Q}, "key share is damaged: "),
        ({"x": Q - 1}, "the secret share does not match its public share$"),
        ({"X": TINY.group.identity}, "the public key is the identity"),
        ({"X": 2 * SHARE.X}, "the public shares do not interpolate to the public key$"),
        ({"shares": [[1, SHARE.public_shares[1]]]}, "key share is damaged: "),
        ({"shares": [[i, SHARE.X] for i in range(1, 17)]}, "the secret share does not match"),
        ({"shares": [[i, SHARE.X] for i in range(1, 18)]}, "key share is damaged: "),
        ({"shares": [[Q, SHARE.X], [1, SHARE.X]]}, "key share is damaged: "),
    ],
    ids=lambda value: str(value)[:60],
)
def test_encoded_shares_beyond_the_limits(change, text):
    assert KeyShare.from_bytes(TINY, share_fields(SHARE)) == SHARE
    with pytest.raises(ShareCorrupt, match=f"^{text}"):
        KeyShare.from_bytes(TINY, share_fields(SHARE, **change))


def peer(aux, index, **change):
    return replace(aux, parties=aux.parties | {index: replace(aux.parties[index], **change)})


@pytest.mark.parametrize("name", ["s", "t"])
def test_the_smallest_and_the_largest_base(name):
    N_hat = AUX.parties[2].N_hat
    for base in (N_hat * 0 + 2, N_hat - 2):
        aux = peer(AUX, 2, **{name: base})
        assert AuxSet.from_bytes(TINY, aux.to_bytes()).parties == aux.parties
    for base in (N_hat * 0 + 1, N_hat - 1):
        with pytest.raises(ShareCorrupt, match=f"^ring-Pedersen {name} is trivial"):
            peer(AUX, 2, **{name: base}).check()


@pytest.mark.parametrize(("name", "shown"), [("N", "N"), ("N_hat", "N\\^")])
def test_the_size_of_a_peers_moduli(name, shown):
    for value in (getattr(AUX.parties[2], name) + 1, (1 << MODULUS_BITS - 1) - 1):
        with pytest.raises(ShareCorrupt, match=f"^{shown} is not an odd number of {MODULUS_BITS} bits$"):
            peer(AUX, 2, **{name: value}).check()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tag": "key-share/1"}, "aux set is of kind 'key-share/1', not 'aux-set/1'"),
        ({"aux_id": bytes(31)}, "aux set is damaged: "),
        ({"aux_id": bytes(33)}, "aux set is damaged: "),
        ({"me": Q}, "aux set is damaged: "),
        ({"me": Q - 1}, "this party is not among the aux set's parties"),
        ({"parties": [[1, *AUX.parties[1].as_list()]]}, "aux set is damaged: "),
        ({"parties": [[i, 7, 7, 7, 7] for i in range(1, 17)]}, "N is not an odd number"),
        ({"parties": [[i, 7, 7, 7, 7] for i in range(1, 18)]}, "aux set is damaged: .*17 items"),
        ({"parties": [[i, 1 << MODULUS_BITS, 7, 7, 7] for i in (1, 2)]}, "aux set is damaged: "),
        ({"parties": [[i, 7, 1 << MODULUS_BITS, 7, 7] for i in (1, 2)]}, "aux set is damaged: "),
        ({"parties": [[i, 7, 7, 1 << MODULUS_BITS, 7] for i in (1, 2)]}, "aux set is damaged: "),
        ({"parties": [[i, 7, 7, 7, 1 << MODULUS_BITS] for i in (1, 2)]}, "aux set is damaged: "),
        ({"own": [AUX.paillier.p]}, "aux set is damaged: "),
        ({"own": [AUX.paillier.p, AUX.paillier.q_, 3]}, "aux set is damaged: "),
        ({"own": [(1 << PRIME_BITS) - 1, AUX.paillier.q_]}, "the Paillier primes do not give this party's N"),
        ({"own": [(1 << PRIME_BITS) + 1, AUX.paillier.q_]}, "aux set is damaged: integer of 21 bytes"),
        ({"own": [AUX.paillier.p, 1 << PRIME_BITS]}, "aux set is damaged: integer of 21 bytes"),
        (
            {"own": [AUX.paillier.p, AUX.paillier.p]},
            "aux set is damaged: the two primes of a modulus are not odd",
        ),
        ({"pedersen": [AUX.pedersen.p, AUX.pedersen.q_]}, "aux set is damaged: "),
        ({"pedersen": [1 << PRIME_BITS, AUX.pedersen.q_, 5]}, "aux set is damaged: integer of 21 bytes"),
        ({"pedersen": [AUX.pedersen.p, 1 << PRIME_BITS, 5]}, "aux set is damaged: integer of 21 bytes"),
        ({"pedersen": [AUX.pedersen.p, AUX.pedersen.q_, 1 << MODULUS_BITS]}, "aux set is damaged: "),
    ],
    ids=lambda value: str(value)[:60],
)
def test_encoded_aux_sets_beyond_the_limits(change, text):
    assert AuxSet.from_bytes(TINY, aux_fields(AUX)).to_bytes() == AUX.to_bytes() == aux_fields(AUX)
    with pytest.raises(ShareCorrupt, match=f"^{text}"):
        AuxSet.from_bytes(TINY, aux_fields(AUX, **change))


def test_records_do_not_depend_on_the_order_of_their_parties():
    share = replace(SHARE, public_shares=dict(reversed(SHARE.public_shares.items())))
    assert (share.to_bytes(), share.indices) == (SHARE.to_bytes(), [1, 2, 3])
    aux = replace(AUX, parties=dict(reversed(AUX.parties.items())))
    assert (aux.to_bytes(), aux.indices) == (AUX.to_bytes(), [1, 2, 3])

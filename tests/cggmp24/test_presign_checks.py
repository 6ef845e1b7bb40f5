"""What presigning receives, its output conditions (a) and (b), and its items' names (protocol.md 3.2, 3.3)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cggmp24_cheating import changed
from session_testing import identity_of
from tss_testing import TINY
from zk_naive import enc

from tss.cggmp24.presign_checks import CHI, DELTA, Presigned, failed, rounds
from tss.cggmp24.presignature import ENTROPY_BYTES, item_of, presignature_id
from tss.encoding import Schema, decode, encode
from tss.envelope import holder
from tss.errors import SchemaViolation
from tss.judge.record import Bystander

Q, G = TINY.group.q, TINY.group.G
x, SHARES = 7, ((3, Q - 5), (Q - 1, 11), (8, 2))
"""The key, and (delta_i, chi_i) of each signer, of which the sums are delta and delta*x."""
DELTAS = [delta for delta, _ in SHARES]
CHIS = [chi for _, chi in SHARES[:2]] + [(sum(DELTAS) * x - SHARES[0][1] - SHARES[1][1]) % Q]
OUTPUTS: list[Any] = [[d, d * G, chi * G, None] for d, chi in zip(DELTAS, CHIS, strict=True)]


def which_fails(outputs: list[Any]) -> str | None:
    members = {holder(i): identity_of(holder(i)).public for i in (1, 2, 3)}
    return failed(Presigned(Bystander(TINY, b"s" * 32, members), x * G, {}, {}, {}), outputs)


def test_outputs_that_fit_together() -> None:
    assert which_fails(OUTPUTS) is None


@pytest.mark.attack("A4")
@pytest.mark.parametrize("j", range(3))
def test_outputs_that_do_not(j: int) -> None:
    """Whoever lies; (b) is looked at only if (a) holds."""
    for place, new, condition in (
        (0, lambda delta: (delta + 1) % Q, DELTA),
        (1, lambda Delta: Delta + G, DELTA),
        (2, lambda S: S + G, CHI),
    ):
        assert which_fails(changed(OUTPUTS, j, lambda said, p=place, n=new: changed(said, p, n))) == condition
    both = changed(OUTPUTS, j, lambda said: [(said[0] + 1) % Q, said[1], said[2] + G, None])
    assert which_fails(both) == DELTA


def test_a_presignature_is_found_in_its_own_batch_alone() -> None:
    ctx, other = (Bystander(TINY, sid * 32, {}) for sid in (b"s", b"t"))
    for k in range(3):
        named = presignature_id(ctx, k)
        assert item_of(ctx, 3, named) == item_of(ctx, k + 1, named) == k
        assert item_of(ctx, k, named) is None
        assert item_of(other, 3, named) is None


def third(*, entropy: bool) -> Schema:
    schema = rounds(TINY, 3, 1, entropy=entropy)[2].broadcast
    assert schema is not None
    return schema


def test_only_full_signing_has_an_entropy_in_its_third_round() -> None:
    def said(e: bytes | None) -> bytes:
        return encode([[[5, G, G, [G, G, G, 1, 2]]], e])

    e = b"e" * ENTROPY_BYTES
    assert decode(said(e), third(entropy=True))[1] == e
    assert decode(said(None), third(entropy=False))[1] is None
    for wrong, entropy in ((None, True), (e[1:], True), (e, False)):
        with pytest.raises(SchemaViolation):
            decode(said(wrong), third(entropy=entropy))


def test_items_and_masks_are_bound_by_what_the_specification_lists() -> None:
    """isid_k in every proof, h_{j,i} for every mask (protocol.md 3.2), written down a second time."""
    sid = b"s" * 32
    case = Presigned(Bystander(TINY, sid, {}), G, {}, {}, {})

    def hc(*values: object) -> bytes:
        return hashlib.sha256(enc([TINY.proto, *values])).digest()

    isid = hc("item", sid, 2)
    assert case.isid(2) == isid
    assert case.mask_hash(isid, holder(1), holder(3), [5, 6, 7, 8]) == hc(
        "mta-commit", isid, 1, 3, 5, 6, 7, 8
    )


def test_the_output_conditions_have_the_names_that_evidence_has() -> None:
    assert (DELTA, CHI) == ("delta", "chi")

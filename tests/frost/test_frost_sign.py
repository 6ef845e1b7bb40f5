"""FROST signing among honest parties (protocol.md 6.2, RFC 9591): both ways, one share a pair, two foreign verifiers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import nacl.signing
import pytest
from cggmp24_cheating import durable
from cggmp24_testing import secret_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from frost_testing import FrostSigners, frost_key, run_dkg
from session_testing import Anything, Outcomes, holder
from tss_testing import SeededRng

from tss.cggmp24.presignature import State
from tss.cggmp24.sign import Answered
from tss.effects import Progress
from tss.encoding import decode
from tss.errors import (
    BadIndex,
    BadMessage,
    BadSignerSet,
    CallerError,
    Degenerate,
    InternalError,
    NonceUsed,
    OutOfDomain,
    SessionMismatch,
)
from tss.frost import sign
from tss.frost.ciphersuite import ED25519_SHA512, Ed25519Sha512
from tss.frost.nonces import MAX_BATCH, NoncePair
from tss.frost.terms import (
    Signature,
    binding_factors,
    check_share_of_signature,
    check_signers,
    combine,
    signature_share,
    terms,
)
from tss.groups import ED25519
from tss.hd import derive
from tss.params import FROST_ED25519
from tss.transcript import hash_commit

MESSAGE = b"a Solana transaction's message, of any length"
WAYS = ("full_sign", "sign")
SIGNERS = FrostSigners((1, 3), 3, 2)


def verified(outcomes: Outcomes, message: bytes) -> Signature:
    """The one signature that everybody holds, checked by two libraries that know nothing of ours."""
    (signature,) = set(outcomes.results().values())
    key = signature.X.to_bytes()
    nacl.signing.VerifyKey(key).verify(message, signature.encoded)
    Ed25519PublicKey.from_public_bytes(key).verify(signature.encoded, message)
    return signature


def way(signers: FrostSigners, name: str) -> Callable[..., Outcomes]:
    return getattr(signers, name)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("message", [b"", b"m", MESSAGE, bytes(sign.MAX_MESSAGE_BYTES)], ids=len)
def test_every_message_gets_a_signature(name: str, message: bytes) -> None:
    signature = verified(way(SIGNERS, name)(message), message)
    assert (len(signature.encoded), signature.message) == (64, message)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("S", [(1, 2), (1, 3), (2, 3), (1, 2, 3)])
def test_every_signer_set_of_t_or_more_signs(name: str, S: tuple[int, ...]) -> None:
    verified(way(FrostSigners(S, 3, 2), name)(MESSAGE, S), MESSAGE)


def test_a_key_that_the_committee_made_signs() -> None:
    signers = FrostSigners((2, 3), 3, 2)
    object.__setattr__(signers, "shares", run_dkg(3, 2, "to sign").results())
    assert verified(signers.full_sign(MESSAGE), MESSAGE).X == signers.share.X


def test_pairs_exchanged_ahead_sign_each_once() -> None:
    made = SIGNERS.prepare(batch=3).results()
    assert [prepared.id for prepared in made[1]] == [prepared.id for prepared in made[3]]
    assert len({prepared.id for prepared in made[1]}) == 3
    signatures = set()
    for k in range(3):
        parts = {j: made[j][k] for j in SIGNERS.S}
        assert {parts[j].state for j in parts} == {State.FRESH}
        assert {parts[j].public.owner for j in parts} == {1}
        signatures.add(verified(SIGNERS.sign(MESSAGE, k, prepared=parts), MESSAGE).encoded)
        assert {parts[j].state for j in parts} == {State.ANSWERED}
    assert len(signatures) == 3


def test_one_message_each_way() -> None:
    """With pairs exchanged ahead every party says one thing; without, an acceptance, its echo and one more."""
    assert [len(node.posted) for node in SIGNERS.sign(MESSAGE).honest] == [1, 1]
    assert [len(node.posted) for node in SIGNERS.full_sign(MESSAGE).honest] == [3, 3]
    assert [len(node.posted) for node in SIGNERS.prepare().honest] == [2, 2]


@pytest.mark.parametrize("name", WAYS)
def test_what_is_durable_before_a_share_leaves(name: str) -> None:
    """The package that it answers; pkg = Hc("pkg", sid, msg, [[j, D_j, E_j] sorted])."""
    pairs = SIGNERS.pairs("durable")
    prepared = SIGNERS.prepared("durable")
    given = {"pairs": pairs} if name == "full_sign" else {"prepared": prepared}
    outcomes = way(SIGNERS, name)(MESSAGE, **given)
    D_E = {
        j: pairs[j][0].commitments if name == "full_sign" else prepared[j].pair.commitments for j in SIGNERS.S
    }
    listed = [[j, *D_E[j]] for j in (1, 3)]
    for node in outcomes.honest:
        (record,) = durable(node)
        assert isinstance(record, Answered)
        assert record.req == hash_commit("frost-ed25519/v1", "pkg", node.session.sid, MESSAGE, listed)
        *_, share = node.bodies()
        assert decode(share.payload, Anything(ED25519))[1][1] == record.req


def test_tails() -> None:
    share, S, digest = SIGNERS.share, [1, 3], hashlib.sha512(MESSAGE).digest()
    key = [share.key_id, share.X, share.share_epoch, S]
    points = [share.public_shares[1], share.public_shares[3]]
    assert sign.prepare_tail(share, (3, 1), 3, 7) == [*key, 3, 7]
    assert sign.full_tail(share, (3, 1), MESSAGE) == [*key, points, digest]
    public = SIGNERS.prepared()[1].public
    listed = [[j, public.id, *public.commitments[j]] for j in S]
    assert sign.tail(share, public, MESSAGE) == [*key, points, digest, listed]


# -- one pair, one share -----------------------------------------------------------------------------------------


@pytest.mark.attack("D4")
def test_a_pair_gives_its_secrets_once() -> None:
    pair = SIGNERS.pairs()[1][0]
    d, e = pair.spend()
    assert (ED25519.mul_base(d), ED25519.mul_base(e)) == pair.commitments
    assert pair.state is State.ANSWERED
    with pytest.raises(NonceUsed, match="answered"):
        pair.spend()
    pair.destroy()
    with pytest.raises(NonceUsed, match="destroyed"):
        pair.spend()
    assert str(d) not in repr(pair)


@pytest.mark.attack("D4")
@pytest.mark.parametrize("other", [MESSAGE, b"another message"])
def test_a_used_pair_is_refused_whatever_is_asked(other: bytes) -> None:
    pairs = SIGNERS.pairs("used")
    verified(SIGNERS.full_sign(MESSAGE, pairs=pairs), MESSAGE)
    again = SIGNERS.full_sign(other, "again", pairs=pairs)
    assert {type(error) for error in again.errors().values()} == {NonceUsed}
    assert not any(durable(node) for node in again.honest)
    prepared = SIGNERS.prepared("used")
    verified(SIGNERS.sign(MESSAGE, prepared=prepared), MESSAGE)
    again = SIGNERS.sign(other, "again", prepared=prepared)
    assert {type(error) for error in again.errors().values()} == {NonceUsed}


@pytest.mark.attack("D4")
def test_a_list_with_another_pair_of_ones_own_is_refused() -> None:
    """Replaced, or absent: nothing is said, and the pair that was not in the list is destroyed."""
    prepared, strange = SIGNERS.prepared("own"), SIGNERS.pairs("strange")[3][0].commitments
    for listed in ({1: prepared[1].public.commitments[1], 3: strange}, {1: strange}):
        part = replace(
            prepared[3],
            public=replace(prepared[3].public, commitments=listed),
            pair=SIGNERS.pairs("own")[3][0],
        )
        outcomes = SIGNERS.sign(MESSAGE, prepared={1: prepared[1], 3: part}, programs={1: _silent})
        assert isinstance(outcomes[3].error, NonceUsed)
        assert part.state is State.DESTROYED
        assert not durable(outcomes[3])


def _silent(_ctx: Any) -> Any:
    yield Progress("nothing")


@pytest.mark.attack("D4")
def test_pairs_of_another_epoch_key_or_signer_set_are_refused() -> None:
    for change, error in (
        ({"share_epoch": b"x" * 32}, NonceUsed),
        ({"key_id": b"x" * 32}, NonceUsed),
        ({"signers": (1, 2)}, BadSignerSet),
    ):
        prepared = {
            j: replace(part, public=replace(part.public, **change)) for j, part in SIGNERS.prepared().items()
        }
        tail = sign.tail(SIGNERS.share, SIGNERS.prepared()[1].public, MESSAGE)
        outcomes = SIGNERS.sign(MESSAGE, prepared=prepared, tail=tail) if "signers" not in change else None
        if outcomes is None:
            proposed = SIGNERS.proposal(tail)
            outcomes = SIGNERS.sign(MESSAGE, prepared=_with_list(prepared), ph=proposed.body.sid)
        assert {type(found) for found in outcomes.errors().values()} == {error}


def _with_list(prepared: dict[int, Any]) -> dict[int, Any]:
    """The same with commitments for whoever is named, so that a tail can be written."""
    full = {j: SIGNERS.pairs("list")[1][0].commitments for j in (1, 2, 3)}
    return {j: replace(part, public=replace(part.public, commitments=full)) for j, part in prepared.items()}


def test_a_pair_that_was_not_used_is_destroyed_with_its_session() -> None:
    prepared = SIGNERS.prepared("silent")
    outcomes = SIGNERS.sign(b"x" * (sign.MAX_MESSAGE_BYTES + 1), prepared=prepared)
    outcomes.assert_no_blame(BadMessage)
    assert {prepared[j].state for j in prepared} == {State.DESTROYED}


def test_nonces_are_hedged_with_the_share() -> None:
    """The same dice twice, with two shares, give two pairs; and never the nonce 0."""
    one, other = (NoncePair.draw(SIGNERS.shares[j], SeededRng("same")) for j in (1, 3))
    assert one.commitments != other.commitments
    assert one.D != one.E


def test_a_nonce_of_0_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0, 5, 6, 0, 7, 8])
    monkeypatch.setattr(Ed25519Sha512, "H3", lambda *_: next(drawn))
    pair = NoncePair.draw(SIGNERS.share, SeededRng(0))
    assert pair.spend() == (7, 8)


# -- callers' mistakes and bugs of ours --------------------------------------------------------------------------


@pytest.mark.attack("D14")
@pytest.mark.parametrize(("S", "me"), [((1,), 1), ((1, 1), 1), ((1, 4), 1), ((2, 3), 1), ((), 1)], ids=str)
def test_what_is_no_signer_set(S: tuple[int, ...], me: int) -> None:
    with pytest.raises(BadSignerSet):
        check_signers(S, 2, [1, 2, 3], me)
    check_signers((1, 2), 2, [1, 2, 3], 1)
    check_signers((1, 2, 3), 2, [1, 2, 3], 3)


@pytest.mark.attack("D14")
@pytest.mark.parametrize("name", [*WAYS, "prepare"])
def test_too_few_signers_are_refused(name: str) -> None:
    few = FrostSigners((1, 2), 3, 3)
    outcomes = few.prepare() if name == "prepare" else way(few, name)(MESSAGE)
    outcomes.assert_no_blame(BadSignerSet)


def test_a_batch_of_another_size_ends_without_blame() -> None:
    pairs = SIGNERS.pairs("ahead", 2)
    short = lambda ctx: sign.prepare(ctx, SIGNERS.shares[3], pairs[3][:1], holder(1))  # noqa: E731 - one expression
    outcomes = SIGNERS.prepare(batch=2, programs={3: short}, confess=True)
    assert isinstance(outcomes[3].error, SessionMismatch)
    assert MAX_BATCH == 64


def test_identifiers_are_not_zero() -> None:
    D_E = SIGNERS.pairs()[1][0].commitments
    with pytest.raises(BadIndex):
        terms(SIGNERS.share.X, MESSAGE, {0: D_E, 1: D_E})
    with pytest.raises(BadIndex):
        terms(SIGNERS.share.X, MESSAGE, {1: D_E, ED25519.q: D_E})


def test_R_that_is_O_ends_without_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ed25519Sha512, "H1", lambda *_: 1)
    G = ED25519.G
    with pytest.raises(Degenerate):
        terms(SIGNERS.share.X, MESSAGE, {1: (G, -G)})


def test_a_sum_that_does_not_verify_is_a_bug_of_ours() -> None:
    at = terms(SIGNERS.share.X, MESSAGE, {j: SIGNERS.pairs()[j][0].commitments for j in SIGNERS.S})
    with pytest.raises(InternalError):
        combine(at, [1, 2])


def test_a_share_of_a_signature_by_the_formula() -> None:
    """z = d + e*rho + lam*s*c, and with all of them R + c*X = z*B."""
    pairs = SIGNERS.pairs("formula")
    at = terms(SIGNERS.share.X, MESSAGE, {j: pairs[j][0].commitments for j in SIGNERS.S})
    secrets = {j: pairs[j][0].spend() for j in SIGNERS.S}
    z = {j: signature_share(at, j, SIGNERS.shares[j].x, *secrets[j]) for j in SIGNERS.S}
    r = sum(d + at.rho[j] * e for j, (d, e) in secrets.items())
    assert sum(z.values()) % ED25519.q == (r + at.c * secret_of(SIGNERS.shares, SIGNERS.S)) % ED25519.q
    assert at.c == ED25519_SHA512.H2(at.R.to_bytes() + at.X.to_bytes() + MESSAGE)
    assert len(ED25519_SHA512.ser(z[1])) == 32


def test_keys_have_no_children() -> None:
    share = frost_key(3, 2)[1]
    assert share.chain_code == b""
    with pytest.raises(CallerError):
        derive(share.X, share.chain_code, (0,))


def test_the_suite() -> None:
    assert (FROST_ED25519.proto, FROST_ED25519.group) == ("frost-ed25519/v1", ED25519)
    assert (FROST_ED25519.has_aux, FROST_ED25519.chain_code_bytes) == (False, 0)


@pytest.mark.attack("D5")
def test_every_binding_factor_depends_on_everything() -> None:
    """Message, key, signers and each commitment of anybody: no nonce point is known before all of them are fixed."""
    pairs = SIGNERS.pairs("binding")
    listed = {j: pairs[j][0].commitments for j in SIGNERS.S}
    X, G = SIGNERS.share.X, ED25519.G
    honest = binding_factors(X, MESSAGE, listed)
    assert set(honest) == {1, 3}
    assert honest[1] != honest[3]
    (D, E) = listed[3]
    for other in (
        binding_factors(X, MESSAGE + b"x", listed),
        binding_factors(X + G, MESSAGE, listed),
        binding_factors(X, MESSAGE, {**listed, 3: (D + G, E)}),
        binding_factors(X, MESSAGE, {**listed, 3: (D, E + G)}),
        binding_factors(X, MESSAGE, {**listed, 3: (E, D)}),
        binding_factors(X, MESSAGE, {1: listed[1], 2: listed[3]}),
        binding_factors(X, MESSAGE, {**listed, 2: (D, E)}),
    ):
        assert honest[1] != other[1]
        assert honest.get(3) != other.get(3)


@pytest.mark.attack("D6")
def test_a_share_of_a_signature_has_one_spelling() -> None:
    """What differs by a multiple of L satisfies the equation, and is refused all the same."""
    pairs = SIGNERS.pairs("spelling")
    at = terms(SIGNERS.share.X, MESSAGE, {j: pairs[j][0].commitments for j in SIGNERS.S})
    z = signature_share(at, 1, SIGNERS.shares[1].x, *pairs[1][0].spend())
    PK = SIGNERS.share.public_shares[1]
    check_share_of_signature(at, 1, PK, z)
    for other in (z - ED25519.q, z + ED25519.q):
        with pytest.raises(OutOfDomain):
            check_share_of_signature(at, 1, PK, other)

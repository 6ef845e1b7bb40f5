"""BIP-340 by the shares of CGGMP24's keys: every parity of root, child, output key and R, verified by two other libraries."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from dataclasses import replace

import pytest
from cggmp24_cheating import durable
from cggmp24_testing import dealt_key, secret_of
from coincurve import PublicKeyXOnly
from embit.util import py_secp256k1
from frost_testing import FrostSigners
from session_testing import Outcomes

from tss.encoding import encode
from tss.errors import CallerError, HardenedPath, InternalError, NonceUsed
from tss.frost import bip340, sign
from tss.frost.bip340 import NO_SCRIPTS, Tweaks, output_key, signing_share, tap_tweak, tweaked, tweaks_from
from tss.frost.ciphersuite import BIP340, x_only
from tss.frost.nonces import NoncePair
from tss.frost.terms import Signature, combine, terms
from tss.groups import SECP256K1
from tss.hd import derive
from tss.params import CGGMP24_SECP256K1, FROST_BIP340, FROST_ED25519, spoken
from tss.proposal import tails

MESSAGE = hashlib.sha256(b"a sighash").digest()
ROOT = hashlib.sha256(b"a script tree").digest()
PLACES = [Tweaks(), Tweaks((0, 5)), Tweaks((), NO_SCRIPTS), Tweaks((1, 7), NO_SCRIPTS), Tweaks((3,), ROOT)]
Q, G = SECP256K1.q, SECP256K1.G


def verified(outcomes: Outcomes, message: bytes) -> Signature:
    """The one signature that everybody holds, by libsecp256k1's own wrapper and by an implementation in Python."""
    (signature,) = set(outcomes.results().values())
    key = x_only(signature.X)
    assert PublicKeyXOnly(key).verify(signature.encoded, message)
    if len(message) == 32:
        internal = py_secp256k1.ec_pubkey_parse(signature.X.to_bytes())
        assert py_secp256k1.schnorrsig_verify(signature.encoded, message, internal)
    return signature


def test_every_parity_signs() -> None:
    """Root, child, output key and R even and odd, in each combination that there is."""
    seen: Counter[tuple[bool, ...]] = Counter()
    for seed, tweaks in itertools.product(range(8), PLACES):
        signers = FrostSigners((1, 3), 3, 2, seed, tweaks)
        root = dealt_key(CGGMP24_SECP256K1, 3, 2, seed)[1]
        child = derive(root.X, root.chain_code, tweaks.path).X_c
        assert not SECP256K1.y_is_odd(signers.share.X)
        for number in range(4):
            pairs = signers.pairs((seed, number))
            listed = {j: pairs[j][0].commitments for j in signers.S}
            flipped = terms(signers.share.X, MESSAGE, listed).sign == -1
            signature = verified(signers.full_sign(MESSAGE, (seed, number), pairs=pairs), MESSAGE)
            assert signature.X == signers.share.X
            odd = (
                SECP256K1.y_is_odd(root.X),
                SECP256K1.y_is_odd(child),
                _output_is_odd(child, tweaks),
                flipped,
            )
            seen[odd if tweaks.path else (odd[0], odd[0], *odd[2:])] += 1
    assert len(seen) == 2**4, seen


def _output_is_odd(child: object, tweaks: Tweaks) -> bool:
    if tweaks.taproot is None:
        return False
    assert isinstance(child, type(G))
    internal = -child if SECP256K1.y_is_odd(child) else child
    return SECP256K1.y_is_odd(internal + tap_tweak(internal, tweaks.taproot) * G)


@pytest.mark.parametrize("name", ["full_sign", "sign"])
@pytest.mark.parametrize("S", [(1, 2), (1, 3), (2, 3), (1, 2, 3)])
def test_every_signer_set_of_t_or_more_signs(name: str, S: tuple[int, ...]) -> None:
    signers = FrostSigners(S, 3, 2, tweaks=PLACES[3])
    verified(getattr(signers, name)(MESSAGE, S), MESSAGE)


@pytest.mark.parametrize("message", [b"", b"m", bytes(100), bytes(sign.MAX_MESSAGE_BYTES)], ids=len)
def test_messages_of_other_lengths(message: bytes) -> None:
    verified(FrostSigners((1, 2), 3, 2, tweaks=Tweaks()).full_sign(message), message)


def test_pairs_exchanged_ahead_sign_under_any_tweak() -> None:
    """They are the account's: the key that signs is chosen with the message."""
    ahead = FrostSigners((1, 3), 3, 2, tweaks=Tweaks())
    made = ahead.prepare(batch=len(PLACES)).results()
    for k, tweaks in enumerate(PLACES):
        signers = FrostSigners((1, 3), 3, 2, tweaks=tweaks)
        outcomes = signers.sign(MESSAGE, k, prepared={j: made[j][k] for j in signers.S})
        assert verified(outcomes, MESSAGE).X == signers.share.X


@pytest.mark.attack("D4")
def test_pairs_of_another_scheme_are_refused() -> None:
    """Nothing is said with them."""
    signers = FrostSigners((1, 3), 3, 2, tweaks=Tweaks())
    prepared = {j: replace(part, suite=FROST_ED25519) for j, part in signers.prepared().items()}
    outcomes = signers.sign(MESSAGE, prepared=prepared)
    assert {type(error) for error in outcomes.errors().values()} == {NonceUsed}
    assert not any(durable(node) for node in outcomes.honest)


@pytest.mark.parametrize("tweaks", PLACES, ids=str)
def test_the_shares_are_a_sharing_of_the_tweaked_key(tweaks: Tweaks) -> None:
    dealt = dealt_key(CGGMP24_SECP256K1, 4, 3, "sharing")
    key = tweaked(dealt[1].X, dealt[1].chain_code, tweaks)
    shares = {j: signing_share(share, tweaks) for j, share in dealt.items()}
    secret = secret_of(dealt)
    assert secret_of(shares) == (key.a * secret + key.b) % Q
    assert SECP256K1.mul_base(secret_of(shares, (2, 3, 4))) == key.X
    for j, share in shares.items():
        assert share.public_shares[j] == SECP256K1.mul_base(share.x)
        assert (share.key_id, share.share_epoch, share.t) == (dealt[j].key_id, dealt[j].share_epoch, 3)
        assert (share.suite, share.chain_code, set(share.public_shares)) == (FROST_BIP340, b"", set(dealt))
        share.check()
        assert str(share.x) not in repr(share)


def test_a_hedged_nonce_is_not_one_of_another_suite() -> None:
    """H3 has a context string for each ciphersuite."""
    share = FrostSigners((1, 3), 3, 2, tweaks=Tweaks()).share
    drawn = NoncePair.draw(share, bytes)
    assert drawn.spend()[0] == BIP340.H3(bytes(32) + BIP340.ser(share.x))


def test_output_keys_of_either_sign_of_the_internal_key() -> None:
    P = 5 * G
    assert output_key(P) == output_key(-P) != output_key(P, ROOT)
    assert not SECP256K1.y_is_odd(output_key(P))


def test_what_is_no_tweak() -> None:
    for length in (1, 31, 33, 64):
        with pytest.raises(CallerError, match="merkle root"):
            Tweaks((), bytes(length))
    share = dealt_key(CGGMP24_SECP256K1, 3, 2)[1]
    with pytest.raises(HardenedPath):
        signing_share(share, Tweaks((1 << 31,)))
    assert tweaks_from([1, 2], ROOT) == Tweaks((1, 2), ROOT)
    assert Tweaks((1, 2), None).as_list() == [[1, 2], None]
    assert encode(Tweaks().as_list()) != encode(Tweaks((), NO_SCRIPTS).as_list())


def test_keys_without_an_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """BIP-341 fails for t of q or more, and for O; neither can be met."""
    P = 2 * G
    for digest in (Q, Q - 2):
        monkeypatch.setattr(bip340, "tagged_hash", lambda *_, digest=digest: digest.to_bytes(32, "big"))
        with pytest.raises(CallerError, match="no Taproot output"):
            output_key(P)
    monkeypatch.setattr(bip340, "tagged_hash", lambda *_: (Q - 1).to_bytes(32, "big"))
    assert not output_key(P).is_identity


def test_a_key_with_an_odd_y_has_no_signatures() -> None:
    """Whoever leaves the sign of the key out finds it before the signature is given to anybody."""
    signers = FrostSigners((1, 3), 3, 2, tweaks=Tweaks())
    pairs = signers.pairs("odd")
    at = terms(-signers.share.X, MESSAGE, {j: pairs[j][0].commitments for j in signers.S})
    with pytest.raises(InternalError):
        combine(at, [1, 2])
    (signature,) = set(signers.full_sign(MESSAGE).results().values())
    assert BIP340.verify(signature.X, MESSAGE, signature.encoded)
    assert not BIP340.verify(-signature.X, MESSAGE, signature.encoded)


def test_the_suite_signs_and_makes_no_keys() -> None:
    assert sorted(tails(FROST_BIP340)) == ["frost-full-sign", "frost-pairs", "frost-sign"]
    assert set(tails(FROST_BIP340)) < set(tails(FROST_ED25519))
    assert len({FROST_BIP340.proto, CGGMP24_SECP256K1.proto, FROST_ED25519.proto}) == 3


def test_whose_keys_sign_in_a_suite() -> None:
    suites = (CGGMP24_SECP256K1, FROST_ED25519, FROST_BIP340)
    signing = {(suite, keys) for suite in suites for keys in suites if suite.signs_for(keys)}
    assert signing == {(suite, suite) for suite in suites} | {(FROST_BIP340, CGGMP24_SECP256K1)}
    own = {CGGMP24_SECP256K1.proto: CGGMP24_SECP256K1, FROST_ED25519.proto: FROST_ED25519}
    assert spoken([CGGMP24_SECP256K1, FROST_ED25519]) == {**own, FROST_BIP340.proto: FROST_BIP340}
    assert spoken([FROST_ED25519]) == {FROST_ED25519.proto: FROST_ED25519}

"""Sealing by a token: SoftHSM, a real PKCS#11 library."""

import pkcs11
import pytest
from node_testing import new_store, wrapper
from seal_testing import MODULE, PIN, tokens_here

from participant.seal_pkcs11 import Pkcs11Wrapper, TokenKey
from participant.sealing import KEY_BYTES, SealError, WrongSealingKey
from participant.store import Store

DATA_KEY = bytes(range(KEY_BYTES))


@pytest.fixture(autouse=True, scope="module")
def _tokens(tmp_path_factory):
    with tokens_here(tmp_path_factory.mktemp("hsm"), "wallet", "other", "third", "empty"):
        for token in ("wallet", "other"):
            Pkcs11Wrapper(TokenKey(MODULE, token, "seal"), PIN).create_key()
        yield


def outer(label: str = "wallet", key: str = "seal", pin: bytes = PIN) -> Pkcs11Wrapper:
    return Pkcs11Wrapper(TokenKey(MODULE, label, key), pin)


def test_the_token_opens_what_it_wrapped_and_binds_the_place():
    wrapped = [outer().wrap(DATA_KEY, b"place") for _ in range(2)]
    assert wrapped[0] != wrapped[1]
    for one in wrapped:
        assert DATA_KEY not in one
        assert outer().unwrap(one, b"place") == DATA_KEY
        with pytest.raises(WrongSealingKey):
            outer().unwrap(one, b"another")
        with pytest.raises(WrongSealingKey, match="'seal' on token 'other'"):
            outer("other").unwrap(one, b"place")


def test_every_flipped_bit_behind_the_labels_is_noticed():
    wrapped = outer().wrap(DATA_KEY, b"place")
    # The labels are for the reader of an error: the key that is used is the settings'.
    for position in range(wrapped.index(b"seal") + len(b"seal"), len(wrapped)):
        changed = bytearray(wrapped)
        changed[position] ^= 1 << position % 8
        with pytest.raises(SealError):
            outer().unwrap(bytes(changed), b"place")


def test_the_key_cannot_be_read_out_of_the_token():
    with pkcs11.lib(str(MODULE)).get_token(token_label="wallet").open(user_pin=PIN.decode()) as session:
        key = session.get_key(label="seal")
        assert key[pkcs11.Attribute.SENSITIVE]
        assert not key[pkcs11.Attribute.EXTRACTABLE]
        assert key[pkcs11.Attribute.NEVER_EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_a_key_that_could_be_read_is_refused():
    template = {pkcs11.Attribute.SENSITIVE: False, pkcs11.Attribute.EXTRACTABLE: True}
    with (
        pkcs11.lib(str(MODULE)).get_token(token_label="third").open(user_pin=PIN.decode(), rw=True) as session
    ):
        session.generate_key(pkcs11.KeyType.AES, 256, label="open", store=True, template=template)
        session.generate_key(
            pkcs11.KeyType.AES, 256, label="half", store=True, template={pkcs11.Attribute.EXTRACTABLE: True}
        )
        session.generate_key(pkcs11.KeyType.AES, 128, label="short", store=True)
        for _ in range(2):
            session.generate_key(pkcs11.KeyType.AES, 256, label="twice", store=True)
    for key in ("open", "half"):
        with pytest.raises(SealError, match="can be read out"):
            outer("third", key).wrap(DATA_KEY, b"")
    with pytest.raises(SealError, match="no AES-256 key"):
        outer("third", "short").wrap(DATA_KEY, b"")
    with pytest.raises(SealError, match="more than one"):
        outer("third", "twice").wrap(DATA_KEY, b"")


def test_a_wrong_pin_token_key_or_module_is_said(tmp_path):
    with pytest.raises(WrongSealingKey, match="PIN of token 'wallet' is wrong") as caught:
        outer(pin=b"wrong-pin").wrap(DATA_KEY, b"")
    assert "wrong-pin" not in str(caught.value)
    with pytest.raises(SealError, match="has no token 'lost'"):
        outer("lost").wrap(DATA_KEY, b"")
    with pytest.raises(SealError, match="there is no key 'seal' on token 'empty'"):
        outer("empty").wrap(DATA_KEY, b"")
    with pytest.raises(SealError, match="there is a key 'seal'"):
        outer().create_key()
    with pytest.raises(SealError, match="not UTF-8"):
        outer(pin=b"\xff").wrap(DATA_KEY, b"")
    with pytest.raises(SealError, match="cannot be used"):
        Pkcs11Wrapper(TokenKey(tmp_path / "none.so", "wallet", "seal"), PIN).wrap(DATA_KEY, b"")
    assert PIN.decode() not in repr(outer()) + repr(vars(outer()))


def test_a_store_moves_into_the_token_and_opens_with_it(tmp_path):
    store = new_store(tmp_path)
    added = store.seals.add(outer())
    assert (added.form, added.note) == ("pkcs11", "token wallet, key seal")
    store.seals.remove(1)
    store.seals.renew()
    store.close()
    with Store.open(store.path, outer()) as opened:
        assert opened.check() == []
    with pytest.raises(WrongSealingKey):
        Store.open(store.path, outer("other"))
    with pytest.raises(WrongSealingKey, match="opens with: pkcs11"):
        Store.open(store.path, wrapper())

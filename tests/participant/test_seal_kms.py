"""Sealing by AWS KMS: moto's server, over HTTP."""

import pytest
from node_testing import new_store, raw
from seal_testing import AWS, free_port, kms_client, kms_server

from participant.seal_kms import KmsKey, KmsWrapper
from participant.sealing import KEY_BYTES, SealError, WrongSealingKey
from participant.store import Store
from tss.encoding import encode

DATA_KEY = bytes(range(KEY_BYTES))
REGION = AWS["AWS_DEFAULT_REGION"]


@pytest.fixture(scope="module")
def url():
    with kms_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def client(url):
    return kms_client(url)


@pytest.fixture
def key(client):
    return client.create_key(Description="seal")["KeyMetadata"]["KeyId"]


def test_the_service_opens_what_it_wrapped_and_the_context_binds_it(url, client, key):
    context = {"node": "n0", "committee": "c1"}
    outer = KmsWrapper(KmsKey(key, REGION, url, context))
    wrapped = outer.wrap(DATA_KEY, b"place")
    assert DATA_KEY not in wrapped
    assert outer.unwrap(wrapped, b"place") == DATA_KEY
    for associated_data, other in (
        (b"another", context),
        (b"place", {**context, "node": "n1"}),
        (b"place", {}),
    ):
        with pytest.raises(WrongSealingKey, match="encryption context"):
            KmsWrapper(KmsKey(key, REGION, url, other)).unwrap(wrapped, associated_data)
    second = client.create_key()["KeyMetadata"]["KeyId"]
    client.create_alias(AliasName="alias/seal", TargetKeyId=key)
    assert KmsWrapper(KmsKey("alias/seal", REGION, url, context)).unwrap(wrapped, b"place") == DATA_KEY
    with pytest.raises(SealError):
        KmsWrapper(KmsKey(second, REGION, url, context)).unwrap(wrapped, b"place")


def test_what_is_no_data_key_or_was_changed_is_noticed(url, client, key):
    outer = KmsWrapper(KmsKey(key, REGION, url))
    context = {"wallet-mpc": b"place".hex()}
    blob = client.encrypt(KeyId=key, Plaintext=b"short", EncryptionContext=context)["CiphertextBlob"]
    with pytest.raises(WrongSealingKey, match="no data key"):
        outer.unwrap(encode(["aws-kms", key, blob]), b"place")
    good = client.encrypt(KeyId=key, Plaintext=DATA_KEY, EncryptionContext=context)["CiphertextBlob"]
    with pytest.raises(WrongSealingKey):
        outer.unwrap(encode(["aws-kms", key, good[:-1] + bytes([good[-1] ^ 1])]), b"place")
    with pytest.raises(SealError, match="damaged"):
        outer.unwrap(b"", b"place")
    with pytest.raises(WrongSealingKey, match="wrapped by a key-file"):
        outer.unwrap(encode(["key-file", key, blob]), b"place")


def test_a_refusing_or_absent_service_is_no_wrong_key(url, key, monkeypatch):
    with pytest.raises(SealError, match="refuses to encrypt") as caught:
        KmsWrapper(KmsKey("alias/none", REGION, url)).wrap(DATA_KEY, b"")
    assert not isinstance(caught.value, WrongSealingKey)
    monkeypatch.setattr("participant.seal_kms.ATTEMPTS", 1)
    with pytest.raises(SealError, match="cannot be used") as caught:
        KmsWrapper(KmsKey(key, REGION, f"http://127.0.0.1:{free_port()}")).wrap(DATA_KEY, b"")
    assert not isinstance(caught.value, WrongSealingKey)
    with pytest.raises(SealError, match="cannot be used"):
        KmsWrapper(KmsKey(key, REGION, "no url"))
    with pytest.raises(SealError, match="is set by us"):
        KmsWrapper(KmsKey(key, REGION, url, {"wallet-mpc": "mine"}))


def test_a_store_moves_into_the_service_and_opens_with_it(url, key, tmp_path):
    outer = KmsWrapper(KmsKey(key, REGION, url, {"node": "n0"}))
    store = new_store(tmp_path)
    added = store.seals.add(outer)
    assert (added.form, added.note) == ("aws-kms", key)
    store.seals.remove(1)
    store.seals.renew()
    store.close()
    with Store.open(store.path, outer) as opened:
        assert opened.check() == []
    with pytest.raises(WrongSealingKey):
        Store.open(store.path, KmsWrapper(KmsKey(key, REGION, url, {"node": "n1"})))
    # The service's key alone does not open another store's data key: the place is in the context.
    other = Store.create(tmp_path / "other.db", outer)
    other.close()
    (blob,) = raw(store.path, "SELECT wrapped FROM sealing_key")[0]
    raw(other.path, "UPDATE sealing_key SET wrapped = ?", blob)
    with pytest.raises(WrongSealingKey):
        Store.open(other.path, outer)

import itertools
import os
import stat

import pytest

from participant.files import SecretFileError, SecretFileExposed, create_private, read_private
from participant.sealing import (
    CHEAPEST_ONLY_FOR_TESTS,
    STRONG,
    Argon2Parameters,
    EnvelopeSealer,
    KeyFileWrapper,
    PasswordWrapper,
    Place,
    SealBroken,
    SealError,
    WrongSealingKey,
)

DATA_KEY = bytes(range(32))
AD = b"associated"


def test_seal_round_trip_and_fresh_nonces():
    sealer = EnvelopeSealer({1: DATA_KEY})
    sealed = [sealer.seal(b"secret", AD) for _ in range(100)]
    assert len(set(sealed)) == 100
    assert all(sealer.unseal(value, AD) == b"secret" for value in sealed)
    assert sealer.unseal(sealer.seal(b"", AD), AD) == b""
    assert all(b"secret" not in value for value in sealed)


def test_every_flipped_bit_truncation_and_extension_is_noticed():
    sealer = EnvelopeSealer({1: DATA_KEY, 2: bytes(32)})
    sealed = sealer.seal(b"secret", AD)
    for position, bit in itertools.product(range(len(sealed)), range(8)):
        changed = bytearray(sealed)
        changed[position] ^= 1 << bit
        with pytest.raises(SealBroken):
            sealer.unseal(bytes(changed), AD)
    for cut in range(len(sealed)):
        with pytest.raises(SealBroken):
            sealer.unseal(sealed[:cut], AD)
    for wrong in (b"", b"associate", b"associated\0"):
        with pytest.raises(SealBroken):
            sealer.unseal(sealed, wrong)
    with pytest.raises(SealBroken):
        sealer.unseal(sealed + b"\0", AD)
    with pytest.raises(SealBroken):
        EnvelopeSealer({1: DATA_KEY[::-1]}).unseal(sealed, AD)


def test_new_values_use_the_newest_data_key_and_old_ones_still_open():
    old = EnvelopeSealer({1: DATA_KEY})
    both = EnvelopeSealer({1: DATA_KEY, 2: DATA_KEY[::-1]})
    assert both.unseal(old.seal(b"secret", AD), AD) == b"secret"
    with pytest.raises(SealBroken):
        old.unseal(both.seal(b"secret", AD), AD)


def test_place_separates_every_field():
    base = {
        "store_id": b"s" * 16,
        "table": "share",
        "column": "c",
        "row": [1],
        "account": "a",
        "epoch": b"e",
        "party": 1,
    }
    other = {
        "store_id": b"t" * 16,
        "table": "aux",
        "column": "d",
        "row": [2],
        "account": "b",
        "epoch": b"f",
        "party": 2,
    }
    places = [Place(**base)] + [Place(**(base | {name: value})) for name, value in other.items()]
    places += [Place(**(base | {name: None})) for name in ("row", "account", "epoch", "party")]
    assert len({place.to_bytes() for place in places}) == len(places)


def test_password_round_trip_and_wrong_password():
    wrapper = PasswordWrapper(b"correct horse", CHEAPEST_ONLY_FOR_TESTS)
    wrapped = wrapper.wrap(DATA_KEY, AD)
    assert DATA_KEY not in wrapped
    # Parameters travel with the wrapped key: whoever opens it needs only the password.
    assert PasswordWrapper(b"correct horse").unwrap(wrapped, AD) == DATA_KEY
    with pytest.raises(WrongSealingKey, match="wrong password"):
        PasswordWrapper(b"incorrect horse").unwrap(wrapped, AD)
    with pytest.raises(WrongSealingKey):
        wrapper.unwrap(wrapped, b"another store")
    assert wrapper.wrap(DATA_KEY, AD) != wrapped


def test_every_flipped_byte_of_a_wrapped_key_is_noticed():
    wrapper = PasswordWrapper(b"pw", CHEAPEST_ONLY_FOR_TESTS)
    wrapped = wrapper.wrap(DATA_KEY, AD)
    for position in range(len(wrapped)):
        changed = wrapped[:position] + bytes([wrapped[position] ^ 1]) + wrapped[position + 1 :]
        with pytest.raises(SealError):
            wrapper.unwrap(changed, AD)


def test_default_cost_is_strong():
    assert (STRONG.iterations, STRONG.lanes) == (3, 4)
    assert STRONG.memory_kib >= 64 << 10  # RFC 9106, second recommendation
    assert PasswordWrapper(b"pw")._parameters is STRONG


@pytest.mark.parametrize(
    "cost", [(0, 1, 8), (65, 1, 8), (1, 0, 8), (1, 17, 1024), (1, 4, 31), (1, 1, (1 << 22) + 1)]
)
def test_absurd_costs_are_refused(cost):
    with pytest.raises(SealError, match="out of range"):
        Argon2Parameters(*cost)


def test_forms_do_not_mix():
    by_password = PasswordWrapper(b"pw", CHEAPEST_ONLY_FOR_TESTS)
    by_file = KeyFileWrapper(DATA_KEY)
    with pytest.raises(SealError, match="not wrapped by a key-file"):
        by_file.unwrap(by_password.wrap(DATA_KEY, AD), AD)
    with pytest.raises(SealError, match="not wrapped by a password"):
        by_password.unwrap(by_file.wrap(DATA_KEY, AD), AD)


def test_key_file(tmp_path):
    path = tmp_path / "seal.key"
    wrapped = KeyFileWrapper.create_file(path).wrap(DATA_KEY, AD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) == 64
    assert KeyFileWrapper.from_file(path).unwrap(wrapped, AD) == DATA_KEY
    with pytest.raises(SecretFileError, match="exists already"):
        KeyFileWrapper.create_file(path)
    assert KeyFileWrapper.from_file(path).unwrap(wrapped, AD) == DATA_KEY
    with pytest.raises(WrongSealingKey, match="wrong key file"):
        KeyFileWrapper.create_file(tmp_path / "other.key").unwrap(wrapped, AD)


@pytest.mark.parametrize(
    "content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"0" * 63, b"\xff" * 64, b"00 " * 32]
)
def test_malformed_key_file(tmp_path, content):
    create_private(tmp_path / "seal.key", content)
    with pytest.raises(SecretFileError, match="not a sealing key"):
        KeyFileWrapper.from_file(tmp_path / "seal.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601])
@pytest.mark.parametrize("read", [KeyFileWrapper.from_file, PasswordWrapper.from_file, read_private])
def test_files_that_others_may_touch_are_refused(tmp_path, mode, read):
    path = tmp_path / "secret"
    create_private(path, b"00" * 32)
    path.chmod(mode)
    with pytest.raises(SecretFileExposed, match=rf"mode 0{mode:o}.*chmod 600"):
        read(path)
    path.chmod(0o400)
    read(path)


def test_password_file(tmp_path):
    path = tmp_path / "password"
    for content in (b"hunter2\n", b"hunter2\r\n", b"hunter2"):
        path.unlink(missing_ok=True)
        create_private(path, content)
        wrapped = PasswordWrapper(b"hunter2", CHEAPEST_ONLY_FOR_TESTS).wrap(DATA_KEY, AD)
        assert PasswordWrapper.from_file(path).unwrap(wrapped, AD) == DATA_KEY
    path.write_bytes(b"\n")
    with pytest.raises(SecretFileError, match="is empty"):
        PasswordWrapper.from_file(path)
    with pytest.raises(SealError, match="empty"):
        PasswordWrapper(b"")


def test_missing_long_and_odd_files(tmp_path):
    with pytest.raises(SecretFileError, match=r"cannot read .*No such file"):
        read_private(tmp_path / "none")
    create_private(tmp_path / "long", b"x" * 5000)
    with pytest.raises(SecretFileError, match="longer than 4096"):
        read_private(tmp_path / "long")
    with pytest.raises(SecretFileError, match="not a regular file"):
        read_private(tmp_path)
    with pytest.raises(SecretFileError, match="cannot create"):
        create_private(tmp_path / "no" / "such" / "directory", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretFileError):
        create_private(tmp_path / "link", b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_umask_does_not_open_a_file(tmp_path):
    before = os.umask(0)
    try:
        create_private(tmp_path / "secret", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_repr_shows_no_key():
    for value in (PasswordWrapper(b"hunter2"), KeyFileWrapper(DATA_KEY), EnvelopeSealer({1: DATA_KEY})):
        text = repr(value) + str(value)
        assert "hunter2" not in text
        assert DATA_KEY.hex() not in text
        assert repr(DATA_KEY) not in text

"""A sealing key that lives in a PKCS#11 token (an HSM, a smart card, SoftHSM) and never leaves it.

The token encrypts the store's data key by AES-256-GCM; the PIN comes from a file or an agent, never from settings. Needs
the extra `hsm` (python-pkcs11).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from participant.sealing import (
    CIPHERTEXT,
    KEY_BYTES,
    NONCE_BYTES,
    KeyWrapper,
    SealError,
    WrongSealingKey,
    decode_wrapped,
)
from tss.encoding import Text, Tuple, encode
from tss.rand import Rng

if TYPE_CHECKING:
    import pkcs11

_TAG_BITS: Final = 128
_LABEL: Final = Text(256)

# A token counts logins a process, not a thread.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class TokenKey:
    """Which key of which token."""

    module: Path
    """The token maker's library, such as /usr/lib/softhsm/libsofthsm2.so."""
    token: str
    """The token's label."""
    key: str
    """The AES key's label on it."""

    def __str__(self) -> str:
        return f"key {self.key!r} on token {self.token!r}"


class Pkcs11Wrapper(KeyWrapper):
    """See the module. `pin` is the user's."""

    form = "pkcs11"

    def __init__(self, where: TokenKey, pin: bytes, rng: Rng = os.urandom) -> None:
        self._where = where
        self._secret = _Pin(pin)
        self._rng = rng
        self.note = f"token {where.token}, key {where.key}"

    def create_key(self) -> None:
        """Make the AES-256 key on the token, so that it can never be read. Raises SealError when it is there already."""
        pkcs11 = _library()
        with self._session(writing=True) as session:
            if list(session.get_objects(self._template(pkcs11))):
                raise SealError(f"there is a {self._where} already; it is used as it is")
            flags = pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT
            session.generate_key(
                pkcs11.KeyType.AES, KEY_BYTES * 8, label=self._where.key, store=True, capabilities=flags,
                template={
                    pkcs11.Attribute.SENSITIVE: True,
                    pkcs11.Attribute.EXTRACTABLE: False,
                    pkcs11.Attribute.PRIVATE: True,
                },
            )  # fmt: skip

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """ENC of [form, token, key, nonce, ciphertext]."""
        nonce = self._rng(NONCE_BYTES)
        with self._key() as key:
            ciphertext = bytes(key.encrypt(data_key, **_gcm(nonce, associated_data)))
        return encode([self.form, self._where.token, self._where.key, nonce, ciphertext])

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `KeyWrapper.unwrap`. Raises SealError when token or key is not there."""
        schema = Tuple(Text(32), _LABEL, _LABEL, *CIPHERTEXT)
        _, token, label, nonce, ciphertext = decode_wrapped(wrapped, schema, self.form)
        with self._key() as key:
            try:
                return bytes(key.decrypt(ciphertext, **_gcm(nonce, associated_data)))
            except _library().PKCS11Error:
                raise WrongSealingKey(
                    f"{self._where} does not open the store's data key, which key {label!r} on token {token!r} wrapped "
                    "(or that key's record was changed)"
                ) from None

    @contextlib.contextmanager
    def _key(self) -> Iterator[Any]:
        pkcs11 = _library()
        with self._session() as session:
            found = list(session.get_objects(self._template(pkcs11)))
            if len(found) != 1:
                how = "there is no" if not found else "there is more than one"
                raise SealError(
                    f"{how} {self._where}: make one AES-256 key that cannot be extracted, with mpc-keygen seal add "
                    "--make-token-key or the token's own tool"
                )
            (key,) = found
            if key[pkcs11.Attribute.EXTRACTABLE] or not key[pkcs11.Attribute.SENSITIVE]:
                raise SealError(
                    f"{self._where} can be read out of the token: it protects nothing. Make another"
                )
            if key[pkcs11.Attribute.VALUE_LEN] != KEY_BYTES:
                raise SealError(f"{self._where} is no AES-256 key")
            yield key

    def _template(self, pkcs11: Any) -> dict[Any, Any]:
        return {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
            pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
            pkcs11.Attribute.LABEL: self._where.key,
        }

    @contextlib.contextmanager
    def _session(self, *, writing: bool = False) -> Iterator[pkcs11.Session]:
        pkcs11 = _library()
        where = self._where
        try:
            with _one_at_a_time:
                token = pkcs11.lib(str(where.module)).get_token(token_label=where.token)
                with token.open(rw=writing, user_pin=self._secret.pin.decode()) as session:
                    yield session
        except pkcs11.PinIncorrect:
            raise WrongSealingKey(
                f"the PIN of token {where.token!r} is wrong. Correct it before you try again: a token locks itself after "
                "a few wrong ones"
            ) from None
        except pkcs11.PinLocked:
            raise SealError(
                f"token {where.token!r} is locked: its security officer can set a new PIN"
            ) from None
        except pkcs11.NoSuchToken:
            raise SealError(f"{where.module} has no token {where.token!r}: is it plugged in?") from None
        except UnicodeDecodeError:
            raise SealError(f"the PIN of token {where.token!r} is not UTF-8 text") from None
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            # RuntimeError: a module that is no PKCS#11 library.
            what = str(error) or type(error).__name__
            raise SealError(f"token {where.token!r} of {where.module} cannot be used: {what}") from None

    def __repr__(self) -> str:
        return f"Pkcs11Wrapper({self._where})"


@dataclass(frozen=True)
class _Pin:
    pin: bytes = field(repr=False)


def _gcm(nonce: bytes, associated_data: bytes) -> dict[str, Any]:
    pkcs11 = _library()
    return {
        "mechanism": pkcs11.Mechanism.AES_GCM,
        "mechanism_param": pkcs11.GCMParams(nonce, associated_data, _TAG_BITS),
    }


def _library() -> Any:
    try:
        import pkcs11
    except ImportError:
        raise SealError("PKCS#11 needs python-pkcs11: pip install 'wallet-mpc[hsm]'") from None
    return pkcs11

"""`seal.yaml`: what opens a store, in a file beside it. It names secrets' places and holds none."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator

from kit.settings import PathBesideFile, Section, load_settings
from participant.agent import ask_agent
from participant.files import SecretFileError, SecretFileExposed, read_private
from participant.seal_kms import KmsKey, KmsWrapper
from participant.seal_pkcs11 import Pkcs11Wrapper, TokenKey
from participant.sealing import KeyFileWrapper, KeyWrapper, PasswordWrapper, SealError

SEAL_FILE: Final = "seal.yaml"
SEAL_KEY: Final = "seal.key"


class TokenSettings(Section):
    """`pkcs11`: an AES key in a PKCS#11 token."""

    module: Path = Field(description="the token maker's library, an absolute path")
    token: str = Field(description="the token's label")
    key: str = Field(default="wallet-mpc", description="the AES-256 key's label on the token")
    pin_file: PathBesideFile | None = Field(default=None, description="the PIN in a file of mode 0600")
    pin_agent: PathBesideFile | None = Field(
        default=None, description="the PIN from the agent at this socket, instead of pin_file"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.pin_file is None) == (self.pin_agent is None):
            raise ValueError("the PIN comes from pin_file or from pin_agent: set one of them")
        if not self.module.is_absolute():
            raise ValueError("module is an absolute path")
        return self

    def wrapper(self) -> Pkcs11Wrapper:
        """Raises SecretFileError."""
        return Pkcs11Wrapper(
            TokenKey(self.module, self.token, self.key), _secret(self.pin_file, self.pin_agent)
        )


class KmsSettings(Section):
    """`kms`: a key in AWS KMS."""

    key: str = Field(description="id, ARN or alias of the key")
    region: str | None = Field(default=None, description="null = what boto3 finds")
    endpoint: str | None = Field(default=None, description="URL of another endpoint than the region's")
    context: dict[str, str] = Field(
        default_factory=dict,
        description="encryption context beside the store's own, such as the node's and the committee's names",
    )

    def wrapper(self) -> KmsWrapper:
        """Raises SealError."""
        return KmsWrapper(KmsKey(self.key, self.region, self.endpoint, self.context))


class SealSettings(Section):
    """Exactly one of these opens the store."""

    key_file: PathBesideFile | None = Field(default=None, description="32 random bytes, mode 0600")
    password_file: PathBesideFile | None = Field(
        default=None, description="a password in a file of mode 0600"
    )
    password_agent: PathBesideFile | None = Field(
        default=None, description="a password from the agent at this unix socket"
    )
    pkcs11: TokenSettings | None = Field(default=None, description="a key in a PKCS#11 token")
    kms: KmsSettings | None = Field(default=None, description="a key in AWS KMS")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError(f"set exactly one of {', '.join(type(self).model_fields)}")
        return self

    def wrapper(self) -> KeyWrapper:
        """The outer key. Raises SecretFileError, SealError."""
        if self.key_file is not None:
            return KeyFileWrapper.from_file(self.key_file)
        if self.pkcs11 is not None:
            return self.pkcs11.wrapper()
        if self.kms is not None:
            return self.kms.wrapper()
        if self.password_file is not None:
            return PasswordWrapper.from_file(self.password_file)
        wrapper = PasswordWrapper(_secret(None, self.password_agent))
        wrapper.note = f"agent {self.password_agent}"
        return wrapper


def read_seal_file(path: Path) -> SealSettings:
    """Raises SettingsError, SecretFileError, and SecretFileExposed for a file that others may change."""
    try:
        status = path.stat()
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {error.strerror}") from None
    if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o022:
        raise SecretFileExposed(
            f"{path} can be changed by others, and names what is trusted with the store's key: chmod 600 {path}"
        )
    return load_settings(SealSettings, path, path, "WALLET_MPC_SEAL", environ={})


def wrapper_of(path: Path, *, make_token_key: bool = False) -> KeyWrapper:
    """The outer key that a seal file names; with `make_token_key` it is made on its token first.

    Raises SettingsError, SecretFileError, SealError.
    """
    wrapper = read_seal_file(path).wrapper()
    if make_token_key:
        if not isinstance(wrapper, Pkcs11Wrapper):
            raise SealError(f"{path} names no PKCS#11 token on which a key could be made")
        wrapper.create_key()
    return wrapper


def outer_key(
    store: Path,
    *,
    seal_file: Path | None = None,
    password_file: Path | None = None,
    key_file: Path | None = None,
) -> KeyWrapper:
    """What opens `store`: what is named, else seal.yaml beside it where there is one, else seal.key.

    Raises SettingsError, SecretFileError, SealError.
    """
    if password_file is not None:
        return PasswordWrapper.from_file(password_file)
    if key_file is not None:
        return KeyFileWrapper.from_file(key_file)
    if seal_file is None and store.with_name(SEAL_FILE).exists():
        seal_file = store.with_name(SEAL_FILE)
    if seal_file is not None:
        return wrapper_of(seal_file)
    return KeyFileWrapper.from_file(store.with_name(SEAL_KEY))


def _secret(file: Path | None, agent: Path | None) -> bytes:
    if agent is not None:
        return ask_agent(agent)
    if file is None:
        raise SecretFileError("there is neither a file nor an agent for the secret")
    secret = read_private(file).removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise SecretFileError(f"{file} is empty where a secret is expected")
    return secret

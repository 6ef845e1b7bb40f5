"""A sealing key in AWS KMS: the store's data key is encrypted by the service, under a key that never leaves it.

The encryption context, which is logged with every use and can be demanded by the key's policy, says which store and
data key it is, and whatever the operator adds (the node, its committee). Credentials come from where boto3 looks for
them. Calls block: for worker threads and the start of a process. Needs the extra `kms` (boto3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from participant.sealing import KEY_BYTES, KeyWrapper, SealError, WrongSealingKey, decode_wrapped
from tss.encoding import Bytes, Text, Tuple, encode

PLACE: Final = "wallet-mpc"
"""Key of the encryption context under which the place of the data key stands, in hexadecimal."""

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 10
ATTEMPTS: Final = 3
_MAX_BLOB: Final = 6144
"""What KMS takes at most."""

_NOT_THIS_KEY: Final = {"InvalidCiphertextException", "IncorrectKeyException"}


@dataclass(frozen=True)
class KmsKey:
    """Which key of the service."""

    key: str
    """Key id, ARN or alias ("alias/wallet-mpc")."""
    region: str | None = None
    endpoint: str | None = None
    """URL of another endpoint than the region's public one, such as that of a private network."""
    context: Mapping[str, str] = field(default_factory=dict)


class KmsWrapper(KeyWrapper):
    """See the module."""

    form = "aws-kms"

    def __init__(self, where: KmsKey) -> None:
        """Raises SealError for settings that no client can be made of."""
        if PLACE in where.context:
            raise SealError(f"the encryption context's {PLACE!r} is set by us")
        self._where = where
        self._client = _client(where)
        self.note = where.key

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """ENC of [form, the key's ARN, ciphertext]."""
        answer = self._call("encrypt", associated_data, Plaintext=data_key)
        return encode([self.form, str(answer["KeyId"]), bytes(answer["CiphertextBlob"])])

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `KeyWrapper.unwrap`. Raises SealError when the service does not answer or refuses."""
        schema = Tuple(Text(32), Text(2048), Bytes(0, _MAX_BLOB))
        _, _, blob = decode_wrapped(wrapped, schema, self.form)
        data_key = bytes(self._call("decrypt", associated_data, CiphertextBlob=blob)["Plaintext"])
        if len(data_key) != KEY_BYTES:
            raise WrongSealingKey(f"KMS key {self._where.key} opens something that is no data key")
        return data_key

    def _call(self, operation: str, associated_data: bytes, **fields: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        context = {**self._where.context, PLACE: associated_data.hex()}
        try:
            call = getattr(self._client, operation)
            return call(KeyId=self._where.key, EncryptionContext=context, **fields)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _NOT_THIS_KEY:
                raise WrongSealingKey(
                    f"KMS key {self._where.key} does not open the store's data key with this encryption context (or that "
                    "key's record was changed)"
                ) from None
            raise SealError(f"KMS refuses to {operation} with key {self._where.key}: {error}") from None
        except BotoCoreError as error:
            raise SealError(f"KMS cannot be used: {error}") from None

    def __repr__(self) -> str:
        return f"KmsWrapper({self._where.key})"


def _client(where: KmsKey) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise SealError("AWS KMS needs boto3: pip install 'wallet-mpc[kms]'") from None
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
    )
    try:
        session = boto3.session.Session(region_name=where.region)
        return session.client("kms", endpoint_url=where.endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise SealError(f"KMS cannot be used: {error}") from None

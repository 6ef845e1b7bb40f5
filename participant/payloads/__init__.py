"""What a node signs, decoded and checked by each node itself.

A `Payload` says what is asked for, `decode` what that means for an account (digests, keys, a summary for policies), and
`finish` puts the signatures in. Everything wrong with a payload is a `PayloadError`; anything else is a bug of ours.
"""

from participant.payloads import solana, ssh
from participant.payloads.addresses import FORMATS, address, all_addresses
from participant.payloads.bitcoin import BitcoinInput, BitcoinOutput, BitcoinSummary
from participant.payloads.decoded import (
    ED25519_KEY_BYTES,
    Decoded,
    DigestToSign,
    Finished,
    Keys,
    Path,
    Signature,
    halves,
)
from participant.payloads.errors import PayloadError
from participant.payloads.ethereum import EthereumSummary
from participant.payloads.keys import AccountKeys
from participant.payloads.message import HASHES, NO_HASH, DigestSummary, MessageSummary
from participant.payloads.payload import (
    MAX_BODY,
    SCHEMA,
    Digest,
    EthereumTx,
    Message,
    Payload,
    PsbtTx,
    SolanaTx,
    SshSignature,
    TypedData,
    decode,
    finish,
    from_value,
    to_value,
)
from participant.payloads.schnorr import Bip340, address_of
from participant.payloads.typed_data import TypedDataSummary

__all__ = [
    "ED25519_KEY_BYTES",
    "FORMATS",
    "HASHES",
    "MAX_BODY",
    "NO_HASH",
    "SCHEMA",
    "AccountKeys",
    "Bip340",
    "BitcoinInput",
    "BitcoinOutput",
    "BitcoinSummary",
    "Decoded",
    "Digest",
    "DigestSummary",
    "DigestToSign",
    "EthereumSummary",
    "EthereumTx",
    "Finished",
    "Keys",
    "Message",
    "MessageSummary",
    "Path",
    "Payload",
    "PayloadError",
    "PsbtTx",
    "Signature",
    "SolanaTx",
    "SshSignature",
    "TypedData",
    "TypedDataSummary",
    "address",
    "address_of",
    "all_addresses",
    "decode",
    "finish",
    "from_value",
    "halves",
    "solana",
    "ssh",
    "to_value",
]

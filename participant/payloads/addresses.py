"""Addresses of a public key, and of a Bitcoin script.

`FORMATS` maps a name to a function from a compressed public key (33 bytes) to the address; a new chain is one function
and one entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey

from participant.payloads.errors import PayloadError
from tss.frost.bip340 import NO_SCRIPTS, output_key
from tss.frost.ciphersuite import x_only
from tss.groups import SECP256K1

_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_MAX_HRP: Final = 90 - 1 - 6 - 32
"""What BIP-173 leaves beside 32 digits of data, the separator and the check sum, of 90 characters."""
_TRON: Final = 0x41
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it (not SHA3-256); 32 bytes."""
    # Here, as below: its library takes a sixth of a second to load, of every start.
    from Crypto.Hash import keccak

    return keccak.new(digest_bits=256, data=data).digest()


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256; 20 bytes."""
    from Crypto.Hash import RIPEMD160

    return RIPEMD160.new(hashlib.sha256(data).digest()).digest()


def ethereum_address_bytes(public_key: bytes) -> bytes:
    """The 20 bytes of the Ethereum address of a compressed public key."""
    return keccak256(_point(public_key).format(compressed=False)[1:])[12:]


def ethereum_checksum(address: bytes) -> str:
    """0x-hex of a 20-byte address with the mixed-case checksum of EIP-55."""
    digits = address.hex()
    mask = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(digits, mask[:40], strict=True)
    )


def ethereum(public_key: bytes) -> str:
    """EIP-55 address."""
    return ethereum_checksum(ethereum_address_bytes(public_key))


@dataclass(frozen=True)
class BitcoinNetwork:
    """What an address says about its network."""

    name: str
    hrp: str
    p2pkh: int
    p2sh: int


MAINNET: Final = BitcoinNetwork("bitcoin", "bc", 0x00, 0x05)
TESTNET: Final = BitcoinNetwork("bitcoin_testnet", "tb", 0x6F, 0xC4)
REGTEST: Final = BitcoinNetwork("bitcoin_regtest", "bcrt", 0x6F, 0xC4)


def p2wpkh(public_key: bytes, network: BitcoinNetwork = MAINNET) -> str:
    """Native segwit address of version 0 (BIP-173)."""
    _point(public_key)
    return segwit_address(network.hrp, 0, hash160(public_key))


def p2tr(public_key: bytes, network: BitcoinNetwork = MAINNET, merkle_root: bytes = NO_SCRIPTS) -> str:
    """Taproot address of the internal key (BIP-341; BIP-86 without scripts), bech32m (BIP-350)."""
    return segwit_address(network.hrp, 1, p2tr_script(public_key, merkle_root)[2:])


def bitcoin(public_key: bytes) -> str:
    """P2WPKH on the main network."""
    return p2wpkh(public_key, MAINNET)


def bitcoin_testnet(public_key: bytes) -> str:
    """P2WPKH on the test network."""
    return p2wpkh(public_key, TESTNET)


def bitcoin_taproot(public_key: bytes) -> str:
    """P2TR without scripts (BIP-86) on the main network."""
    return p2tr(public_key, MAINNET)


def bitcoin_taproot_testnet(public_key: bytes) -> str:
    """P2TR without scripts (BIP-86) on the test network."""
    return p2tr(public_key, TESTNET)


def cosmos(public_key: bytes, hrp: str = "cosmos") -> str:
    """The account address of Cosmos SDK chains: bech32 of HASH160 under the chain's prefix (`hrp`).

    Raises PayloadError for a prefix that is not 1 to 51 lower-case letters and digits.
    """
    if not 1 <= len(hrp) <= _MAX_HRP or not (hrp.isascii() and hrp.isalnum() and hrp == hrp.lower()):
        raise PayloadError(f"{hrp[:90]!r} is no prefix of an address", "give lower-case letters and digits")
    _point(public_key)
    return _bech32(hrp, _regroup(hash160(public_key)), 1)


def tron(public_key: bytes) -> str:
    """Tron's address: base58check of 0x41 and Ethereum's 20 bytes."""
    return base58check(bytes([_TRON]) + ethereum_address_bytes(public_key))


FORMATS: Final[dict[str, Callable[[bytes], str]]] = {
    "ethereum": ethereum,
    "bitcoin": bitcoin,
    "bitcoin_testnet": bitcoin_testnet,
    "bitcoin_taproot": bitcoin_taproot,
    "bitcoin_taproot_testnet": bitcoin_taproot_testnet,
    "cosmos": cosmos,
    "tron": tron,
}


def address(format_name: str, public_key: bytes) -> str:
    """The address of a compressed `public_key` (33 bytes) in the named format.

    Raises PayloadError for an unknown format or bytes that are no public key.
    """
    form = FORMATS.get(format_name)
    if form is None:
        raise PayloadError(f"unknown address format {format_name!r}", f"known are {', '.join(FORMATS)}")
    return form(public_key)


def all_addresses(public_key: bytes) -> dict[str, str]:
    """Every address of the key, by format name."""
    return {name: form(public_key) for name, form in FORMATS.items()}


def p2pkh_script(public_key: bytes) -> bytes:
    """The scriptPubKey that pays to the key's hash."""
    return b"\x76\xa9\x14" + hash160(public_key) + b"\x88\xac"


def p2wpkh_script(public_key: bytes) -> bytes:
    """The scriptPubKey of native segwit, version 0 (BIP-141)."""
    return b"\x00\x14" + hash160(public_key)


def p2tr_script(public_key: bytes, merkle_root: bytes = NO_SCRIPTS) -> bytes:
    """The scriptPubKey of the Taproot output of an internal key, of 33 bytes and either sign (BIP-341)."""
    _point(public_key)
    return b"\x51\x20" + x_only(output_key(SECP256K1.decode_point(public_key), merkle_root))


def p2sh_script(redeem_script: bytes) -> bytes:
    """The scriptPubKey that pays to a script's hash (BIP-16)."""
    return b"\xa9\x14" + hash160(redeem_script) + b"\x87"


def address_of_script(script: bytes, network: BitcoinNetwork = MAINNET) -> str | None:
    """The address of a scriptPubKey; None for a script that has no address form."""
    if len(script) == 25 and script.startswith(b"\x76\xa9\x14") and script.endswith(b"\x88\xac"):
        return base58check(bytes([network.p2pkh]) + script[3:23])
    if len(script) == 23 and script.startswith(b"\xa9\x14") and script.endswith(b"\x87"):
        return base58check(bytes([network.p2sh]) + script[2:22])
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == 0 and len(script) in {22, 34}:
        return segwit_address(network.hrp, 0, script[2:])
    if 0x51 <= script[0] <= 0x60:
        return segwit_address(network.hrp, script[0] - 0x50, script[2:])
    return None


def segwit_address(hrp: str, version: int, program: bytes) -> str:
    """Bech32 for version 0 (BIP-173), bech32m for later ones (BIP-350)."""
    return _bech32(hrp, [version, *_regroup(program)], 1 if version == 0 else 0x2BC830A3)


def _bech32(hrp: str, data: list[int], constant: int) -> str:
    expanded = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    polymod = _polymod([*expanded, *data, 0, 0, 0, 0, 0, 0]) ^ constant
    checksum = [(polymod >> 5 * (5 - i)) & 31 for i in range(6)]
    return hrp + "1" + "".join(_BECH32[d] for d in [*data, *checksum])


def base58check(payload: bytes) -> str:
    """Base58 of `payload` and the first 4 bytes of its double SHA-256."""
    data = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number = int.from_bytes(data, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def base58check_decode(text: str) -> bytes:
    """The payload in `text`. Raises ValueError, which never shows the text: it may be a secret."""
    if set(text) - set(_BASE58):
        raise ValueError("not base58")
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    data = bytes(len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, check = data[:-4], data[-4:]
    if hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4] != check:
        raise ValueError("the check sum of base58check is wrong")
    return payload


def _point(public_key: bytes) -> PublicKey:
    if len(public_key) != 33:
        raise PayloadError(
            f"a public key of {len(public_key)} bytes", "give the 33 bytes of the compressed form"
        )
    try:
        return PublicKey(public_key)
    except ValueError:
        raise PayloadError("these 33 bytes are no point of secp256k1") from None


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> i & 1:
                checksum ^= generator
    return checksum


def _regroup(program: bytes) -> list[int]:
    """8-bit bytes to 5-bit digits, zero bits at the end."""
    bits = len(program) * 8
    padding = -bits % 5
    number = int.from_bytes(program, "big") << padding
    return [(number >> shift) & 31 for shift in reversed(range(0, bits + padding, 5))]

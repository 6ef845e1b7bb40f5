from __future__ import annotations

import random

import pytest
from bip_utils import (
    Base58Decoder,
    Base58Encoder,
    CoinsConf,
    EthAddrEncoder,
    P2PKHAddrEncoder,
    P2SHAddrEncoder,
    P2TRAddrEncoder,
    P2WPKHAddrEncoder,
)
from bip_utils.coin_conf import CoinConf
from coincurve import PrivateKey
from payload_testing import ethereum_vectors

from participant.payloads import FORMATS, Bip340, PayloadError, address, address_of, all_addresses
from participant.payloads.addresses import (
    MAINNET,
    REGTEST,
    TESTNET,
    BitcoinNetwork,
    address_of_script,
    base58check,
    base58check_decode,
    ethereum,
    p2pkh_script,
    p2sh_script,
    p2tr,
    p2tr_script,
    p2wpkh,
    p2wpkh_script,
    segwit_address,
)
from participant.payloads.extended import ExtendedPublicKey


def keys(seed: int, count: int = 40) -> list[bytes]:
    rng = random.Random(seed)
    return [PrivateKey(rng.randbytes(32)).public_key.format() for _ in range(count)]


def test_every_ethers_account() -> None:
    vectors = ethereum_vectors("ethers-v6-accounts.json")
    assert len(vectors) > 200
    for vector in vectors:
        key = PrivateKey(bytes.fromhex(vector["privateKey"][2:].zfill(64))).public_key.format()
        assert address("ethereum", key) == vector["address"], vector["name"]


def test_bip_utils_agrees() -> None:
    for key in keys(1):
        assert ethereum(key) == EthAddrEncoder.EncodeKey(key)
        for network in (MAINNET, TESTNET, REGTEST):
            native = P2WPKHAddrEncoder.EncodeKey(key, hrp=network.hrp)
            assert p2wpkh(key, network) == address_of_script(p2wpkh_script(key), network) == native
            old = P2PKHAddrEncoder.EncodeKey(key, net_ver=bytes([network.p2pkh]))
            assert address_of_script(p2pkh_script(key), network) == old
            nested = P2SHAddrEncoder.EncodeKey(key, net_ver=bytes([network.p2sh]))
            assert address_of_script(p2sh_script(p2wpkh_script(key)), network) == nested
            taproot = P2TRAddrEncoder.EncodeKey(key, hrp=network.hrp)
            assert p2tr(key, network) == address_of_script(p2tr_script(key), network) == taproot
        assert address("bitcoin_taproot", key) == P2TRAddrEncoder.EncodeKey(key, hrp="bc")
        assert address("bitcoin_taproot_testnet", key) == P2TRAddrEncoder.EncodeKey(key, hrp="tb")


def test_addresses_of_bip_86() -> None:
    """The account of its vectors, m/86'/0'/0' of the usual mnemonic."""
    account = ExtendedPublicKey.from_text(
        "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ"
    )
    for path, expected in (
        ((0, 0), "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"),
        ((0, 1), "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh"),
        ((1, 0), "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7"),
    ):
        assert address("bitcoin_taproot", account.at(path)) == expected


def test_an_output_with_scripts_has_another_address() -> None:
    """BIP-341's wallet-test-vectors.json, "scriptPubKey" 1; an internal key of either sign gives the same output."""
    x = "187791b6f712a8ea41c8ecdd0ee77fab3e85263b37e1ec18a3651926b3a6cf27"
    root = bytes.fromhex("5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21")
    for sign in ("02", "03"):
        key = bytes.fromhex(sign + x)
        found = address_of(key, Bip340(root))
        assert found == "bc1pz37fc4cn9ah8anwm4xqqhvxygjf9rjf2resrw8h8w4tmvcs0863sa2e586"
        assert address_of(key, Bip340(b"")) == address("bitcoin_taproot", key) != found
        assert address_of(key, Bip340()) == ""


@pytest.mark.parametrize(
    ("network", "name", "conf"),
    [
        (MAINNET, "bitcoin", CoinsConf.BitcoinMainNet),
        (TESTNET, "bitcoin_testnet", CoinsConf.BitcoinTestNet),
        (REGTEST, "bitcoin_regtest", CoinsConf.BitcoinRegTest),
    ],
)
def test_networks_of_bip_utils(network: BitcoinNetwork, name: str, conf: CoinConf) -> None:
    assert network.name == name
    assert network.hrp == conf.ParamByKey("p2wpkh_hrp")
    assert bytes([network.p2pkh]) == conf.ParamByKey("p2pkh_net_ver")
    assert bytes([network.p2sh]) == conf.ParamByKey("p2sh_net_ver")


def test_names() -> None:
    key = keys(2, 1)[0]
    assert all_addresses(key) == {name: address(name, key) for name in FORMATS}
    assert address("bitcoin", key).startswith("bc1q")
    assert address("bitcoin_testnet", key).startswith("tb1q")
    with pytest.raises(PayloadError, match="unknown address format 'dogecoin'; known are ethereum"):
        address("dogecoin", key)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "a public key of 0 bytes"),
        (b"\2" * 32, "a public key of 32 bytes"),
        (PrivateKey(b"\1" * 32).public_key.format(compressed=False), "a public key of 65 bytes"),
        (b"\2" + b"\xff" * 32, "these 33 bytes are no point of secp256k1"),
        (b"\0" * 33, "these 33 bytes are no point of secp256k1"),
    ],
)
@pytest.mark.parametrize("name", FORMATS)
def test_no_address_of_what_is_no_key(name: str, bad: bytes, says: str) -> None:
    with pytest.raises(PayloadError, match=says):
        address(name, bad)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        # BIP-173 and BIP-350, valid segwit addresses with their scripts, lower case.
        ("0014751e76e8199196d454941c45d1b3a323f1433bd6", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        (
            "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
        ),
        ("6002751e", "bc1sw50qgdz25j"),
        (
            "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        ),
        ("5210751e76e8199196d454941c45d1b3a323", "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs"),
        (
            "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
            "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
        ),
        (
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ),
        ("6a0474657374", None),
        ("", None),
        ("0013" + "00" * 19, None),
        ("5101" + "00", None),
        ("5129" + "00" * 41, None),
        ("5103" + "00" * 2, None),
        ("5101" + "00" * 2, None),
        ("5002" + "00" * 2, None),
        ("6102" + "00" * 2, None),
        ("0015" + "00" * 21, None),
        ("001f" + "00" * 31, None),
        ("0021" + "00" * 33, None),
        # Almost what pays to a hash: P2PKH, P2SH.
        *(
            (start + "00" * size + end, None)
            for size, starts, ends in (
                (20, ("76a914", "75a914", "76a915"), ("88ac", "88ad", "87ac")),
                (20, ("a914", "a814", "a915"), ("87", "88")),
            )
            for start in starts
            for end in ends
            if (start, end) != (starts[0], ends[0])
        ),
        *(("76a914" + "00" * size + "88ac", None) for size in (19, 21)),
        *(("a914" + "00" * size + "87", None) for size in (19, 21)),
    ],
)
def test_script_to_address(script: str, expected: str | None) -> None:
    network = TESTNET if expected and expected.startswith("tb") else MAINNET
    assert address_of_script(bytes.fromhex(script), network) == expected


def test_bech32_checksum_differs_by_version() -> None:
    assert segwit_address("bc", 0, bytes(32))[-6:] != segwit_address("bc", 1, bytes(32))[-6:]


@pytest.mark.parametrize("seed", range(30))
def test_base58check_is_what_a_foreign_library_reads_and_writes(seed: int) -> None:
    generator = random.Random(seed)
    payload = bytes(generator.randrange(3)) + generator.randbytes(generator.randrange(1, 90))
    text = base58check(payload)
    assert text == Base58Encoder.CheckEncode(payload)
    assert base58check_decode(text) == Base58Decoder.CheckDecode(text) == payload


def test_base58check_of_every_digit() -> None:
    text = base58check(random.Random(6).randbytes(300))
    assert len(set(text)) == 58
    assert base58check(base58check_decode(text)) == text


@pytest.mark.parametrize("first", [0, 1, 0x21, 0x31, 0x7F, 0x80, 0xFF])
def test_base58check_of_every_first_byte(first: int) -> None:
    for payload in bytes([first, 7]), bytes([0, first]), bytes([first]):
        assert base58check_decode(base58check(payload)) == payload
        assert base58check(payload) == Base58Encoder.CheckEncode(payload)


@pytest.mark.parametrize("seed", range(10))
def test_base58check_refuses_any_other_character(seed: int) -> None:
    generator = random.Random(seed)
    text = base58check(generator.randbytes(78))
    place = generator.randrange(len(text))
    wrong = "z" if text[place] != "z" else "y"
    for character, says in (wrong, "check sum"), *((each, "not base58") for each in "0OIl! \u00e9"):
        with pytest.raises(ValueError, match=says) as caught:
            base58check_decode(text[:place] + character + text[place + 1 :])
        assert text[:8] not in str(caught.value)
    for short in ("", "1", "2", "111"):
        with pytest.raises(ValueError, match="check sum"):
            base58check_decode(short)

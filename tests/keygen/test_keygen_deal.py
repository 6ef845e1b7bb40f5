"""deal: the trusted dealer."""

import secrets
import stat
from itertools import combinations

import pyrage
import pytest
from bip_utils import Bip32Slip10Secp256k1
from keygen_testing import SUITES, assert_absent, fails, secret_file, succeeds
from node_testing import committee_of, node_keys
from tss_testing import SMALL_SECP

from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.age_files import Unlock
from participant.committee import write_committee
from participant.sharefile import read_share_file
from tss.vss import lagrange


@pytest.fixture
def committee_file(tmp_path):
    write_committee(tmp_path / "committee.yaml", committee_of())
    return tmp_path / "committee.yaml"


def reconstruct(shares):
    points = [share.me for share in shares]
    q = SMALL_SECP.group.q
    return sum(lagrange(points, share.me, 0, q) * share.x for share in shares) % q


@pytest.mark.parametrize("prefix", ["", "0x"])
@pytest.mark.parametrize("stdin", [True, False])
def test_deal_splits_the_key_that_was_given(tmp_path, committee_file, prefix, stdin):
    key = 1 + secrets.randbelow(SMALL_SECP.group.q - 1)
    text = f"{prefix}{key:064x}\n"
    source = "-" if stdin else secret_file(tmp_path / "key", text)
    ran = succeeds(
        "deal", source, "--account", "old", "--committee", committee_file, "-o", tmp_path / "out", "--plaintext", "--json",
        stdin=text.encode() if stdin else b"",
    )  # fmt: skip
    files = [tmp_path / "out" / f"index-{index}.json" for index in range(3)]
    assert ran.json["files"] == [str(file) for file in files]
    shares = [read_share_file(file, suites=SUITES)["old"].share for file in files]
    assert [share.me for share in shares] == [1, 2, 3]
    for pair in combinations(shares, 2):
        assert reconstruct(pair) == key
    assert SMALL_SECP.group.mul_base(key) == shares[0].X
    assert all(share.x != key for share in shares)
    assert ran.json["public_key"] == shares[0].X.to_bytes().hex()
    assert_absent([key, *(share.x for share in shares), shares[0].chain_code], ran.out, ran.err)
    assert any("trusted dealer" in warning for warning in ran.json["warnings"])
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_deal_keeps_the_chain_code_of_an_extended_key(tmp_path, committee_file):
    foreign = Bip32Slip10Secp256k1.FromSeed(b"seed of a test, thirty-two bytes")
    source = secret_file(tmp_path / "key", foreign.PrivateKey().ToExtended())
    ran = succeeds(
        "deal",
        source,
        "--account",
        "old",
        "--committee",
        committee_file,
        "-o",
        tmp_path / "out",
        "--plaintext",
    )
    share = read_share_file(tmp_path / "out" / "index-0.json", suites=SUITES)["old"].share
    assert share.X.to_bytes() == foreign.PublicKey().RawCompressed().ToBytes()
    assert share.chain_code == foreign.ChainCode().ToBytes()
    assert foreign.PrivateKey().ToExtended() not in ran.out + ran.err
    assert_absent([foreign.PrivateKey().Raw().ToBytes()], ran.out, ran.err)


@pytest.mark.parametrize(
    "text",
    ["", "12", "z" * 64, "0" * 64, f"{SMALL_SECP.group.q:064x}", "f" * 64, "1" * 65, "a" * 63, "xprv9s21ZrQH143K", "x" * 2000],
)  # fmt: skip
def test_deal_refuses_what_is_no_private_key_and_does_not_show_it(tmp_path, committee_file, text):
    source = secret_file(tmp_path / "key", text)
    for where, stdin in ((source, b""), ("-", text.encode())):
        arguments = ["--account", "old", "--committee", committee_file, "-o", tmp_path / "out", "--plaintext"]
        ran = fails(3, "deal", where, *arguments, stdin=stdin)
        if len(text) > 12:
            assert text not in ran.err
        assert not (tmp_path / "out").exists()


def test_deal_refuses_a_key_file_that_others_may_read(tmp_path, committee_file):
    source = secret_file(tmp_path / "key", f"{7:064x}")
    source.chmod(0o644)
    arguments = ["--account", "old", "--committee", committee_file, "-o", tmp_path / "out", "--plaintext"]
    assert "chmod 600" in fails(3, "deal", source, *arguments).err


def test_deal_to_one_recipient_each(tmp_path, committee_file):
    source = secret_file(tmp_path / "key", f"{123456789:064x}")
    keys = [pyrage.x25519.Identity.generate() for _ in range(3)]
    recipients = [part for key in keys for part in ("--recipient", str(key.to_public()))]
    arguments = ["--account", "old", "--committee", committee_file, "-o", tmp_path / "out"]
    assert "3 members" in fails(2, "deal", source, *arguments, *recipients[:4]).err
    succeeds("deal", source, *arguments, *recipients)
    for index, key in enumerate(keys):
        file = tmp_path / "out" / f"index-{index}.json"
        assert read_share_file(file, Unlock((str(key),)), SUITES)["old"].share.me == index + 1
        for other in keys:
            if other is not key:
                with pytest.raises(Exception, match="no given key opens"):
                    read_share_file(file, Unlock((str(other),)), SUITES)


def test_dealt_shares_are_imported_by_each_node(tmp_path, committee_file):
    source = secret_file(tmp_path / "key", f"{987654321:064x}")
    succeeds(
        "deal",
        source,
        "--account",
        "old",
        "--committee",
        committee_file,
        "-t",
        "3",
        "-o",
        tmp_path / "out",
        "--plaintext",
    )
    for index in range(3):
        directory = tmp_path / f"node-{index}"
        make_node(directory, node_keys()[index], committee_of())
        succeeds("import", tmp_path / "out" / f"index-{index}.json", directory)
        with NodeFiles.of(directory).open() as store:
            assert store.accounts.account("old").threshold == 3


def test_deal_says_in_its_help_that_it_is_a_trusted_dealer():
    assert "TRUSTED DEALER" in succeeds("deal", "--help").out

"""The commands against a real committee of daemons, at test size."""

import asyncio
import os
import secrets

import ecdsa
import pytest
from committee_processes import running_committee, sign_digest
from keygen_testing import SUITES, Ran, assert_absent, keygen_argv
from processes import run_process
from tss_testing import SMALL_SECP

from participant.age_files import Unlock
from participant.sharefile import read_share_file

GROUP = SMALL_SECP.group


@pytest.fixture(scope="module")
def committee(tmp_path_factory):
    with running_committee(tmp_path_factory.mktemp("committee")) as running:
        yield running


def run(*arguments, code=0):
    ended, process = run_process(keygen_argv(*arguments), timeout=300)
    err = "\n".join(line for line in process.lines if line not in process.stdout)
    assert ended == code, process.output
    return Ran(ended, "\n".join(process.stdout), err)


def verified_signature(committee, account_id, public_key):
    """Two nodes sign; a foreign library verifies."""
    digest = secrets.token_bytes(32)

    async def signed():
        async with committee.nodes[0].client() as client:
            return await sign_digest(client, account_id, digest)

    answer = asyncio.run(signed())
    key = ecdsa.VerifyingKey.from_string(public_key, curve=ecdsa.SECP256k1)
    return key.verify_digest(bytes(answer.r) + bytes(answer.s), digest)


def test_create_makes_a_key_that_signs(committee):
    ran = run("create", "made here", "--target", f"http://{committee.nodes[1].target}", "--json")
    public_key = bytes.fromhex(ran.json["public_key"])
    assert (ran.json["account_id"], ran.json["threshold"], ran.json["parties"]) == ("made here", 2, 3)
    assert ran.json["committee_id"] == committee.committee_id.hex()
    assert verified_signature(committee, "made here", public_key)


def test_create_shows_the_progress_of_the_ceremony(committee):
    ran = run("create", "shown", "--target", committee.nodes[2].operator_target)
    assert "account shown: keygen" in ran.err
    assert "account 'shown': public key" in ran.out


def test_create_refuses_a_name_that_is_taken(committee):
    run("create", "taken", "--target", committee.nodes[0].operator_target)
    ran = run("create", "taken", "--target", committee.nodes[0].operator_target, "--json", code=5)
    assert ran.error["reason"] == "ACCOUNT_EXISTS"


def test_a_dealt_key_signs_after_every_node_has_imported_its_share(committee, tmp_path):
    run("create", "first", "--target", committee.nodes[0].operator_target)
    key = 1 + secrets.randbelow(GROUP.q - 1)
    source = tmp_path / "key"
    source.write_text(f"{key:064x}")
    source.chmod(0o600)
    dealt = run(
        "deal", source, "--account", "dealt", "--committee", committee.directory / "committee.yaml",
        "-o", tmp_path / "shares", "--plaintext",
    )  # fmt: skip
    ran = [dealt]
    for node in committee.nodes:
        file = tmp_path / "shares" / f"index-{node.index}.json"
        ran.append(run("import", file, node.directory, "--operator", node.operator_target))
        assert "imported: 'dealt'" in ran[-1].out
    assert verified_signature(committee, "dealt", GROUP.mul_base(key).to_bytes())
    shares = [
        read_share_file(tmp_path / "shares" / f"index-{index}.json", suites=SUITES)["dealt"].share
        for index in range(3)
    ]
    texts = [text for one in ran for text in (one.out, one.err)]
    assert_absent([key, *(share.x for share in shares)], *texts, *(node.output for node in committee.nodes))


def test_aux_moves_accounts_to_new_auxiliary_information(committee, tmp_path):
    made = run("create", "moved", "--target", committee.nodes[0].operator_target, "--json").json
    node = committee.nodes[0]
    ran = run("aux", node.directory, "--operator", node.operator_target, "--account", "moved", "--json")
    assert "moved" in ran.json["accounts"]
    assert ran.json["committee_id"] == committee.committee_id.hex()
    run(
        "export",
        node.directory,
        "--operator",
        node.operator_target,
        "--account",
        "moved",
        "-o",
        tmp_path / "s",
        "--plaintext",
    )
    entry = read_share_file(tmp_path / "s", suites=SUITES)["moved"]
    assert entry.aux.aux_id.hex() == ran.json["aux_id"]
    assert verified_signature(committee, "moved", bytes.fromhex(made["public_key"]))


def test_export_of_a_running_node_opens_with_its_password(committee, tmp_path):
    run("create", "kept", "--target", committee.nodes[0].operator_target)
    password = tmp_path / "pw"
    password.write_text("correct horse")
    password.chmod(0o600)
    node = committee.nodes[1]
    file = tmp_path / "s.age"
    ran = run(
        "export", node.directory, "--operator", node.operator_target, "-o", file, "--password-file", password
    )
    entry = read_share_file(file, Unlock(password="correct horse"), SUITES)["kept"]
    assert entry.share.me == 2
    assert_absent([entry.share.x], ran.out, ran.err, node.output, file.read_bytes().decode("latin-1"))


def test_status_of_a_running_committee(committee):
    node = committee.nodes[0]
    ran = run("status", node.directory, "--operator", node.operator_target, "--json")
    assert ran.json["identity"] == node.identity.hex()
    assert ran.json["gateway"]["connected"] is True
    (found,) = ran.json["committees"]
    assert [member["online"] for member in found["members"]] == [True] * 3


def test_a_running_nodes_store_is_not_opened_beside_it(committee):
    ran = run("status", committee.nodes[0].directory, "--json", code=3)
    assert ran.error["reason"] == "STORE_LOCKED"
    assert str(os.getpid()) not in ran.error["text"]


def test_create_says_who_is_missing(committee):
    """Last: a member is gone afterwards."""
    committee.nodes[2].stop()
    ran = run("create", "never", "--target", committee.nodes[0].operator_target, "--json", code=4)
    assert ran.error["reason"] in {"PARTIES_MISSING", "TIMEOUT"}
    assert "2" in ran.error["text"]

"""inspect, export, import, deal: shares as files."""

import json
import stat

import pyrage
import pytest
from keygen_testing import SUITES, assert_absent, fails, invoke, secret_file, succeeds
from node_testing import aux_sets, committee_of, deal, node_keys
from tss_testing import SMALL_SECP

from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.age_files import Unlock
from participant.committee import write_committee
from participant.sharefile import ShareEntry, encode_share_file, read_share_file
from participant.store import NewAux, NewShare, Origin

SHARES = deal(SMALL_SECP)


@pytest.fixture(scope="module")
def sets():
    return aux_sets(SMALL_SECP)


def node(directory, index=0):
    """A member of `committee_of()` with an empty store."""
    make_node(directory, node_keys()[index], committee_of())
    return directory


def node_with(directory, sets, accounts=("main",), index=0):
    """One that holds its share of each account."""
    node(directory, index)
    with NodeFiles.of(directory).open() as store:
        committee_id = committee_of().committee_id
        store.accounts.put_aux(committee_id, NewAux.of(sets[index]))
        for number, account_id in enumerate(accounts):
            share = deal(SMALL_SECP, seed=number)[index]
            store.accounts.add(NewShare.of(account_id, share), committee_id, Origin.KEYGEN)
    return directory


def share_file(path, entries):
    path.write_bytes(encode_share_file(entries))
    path.chmod(0o600)
    return path


def all_secrets(share, aux=None):
    found = [share.x, share.chain_code]
    if aux is not None:
        found += [
            int(n)
            for n in (aux.paillier.p, aux.paillier.q_, aux.pedersen.p, aux.pedersen.q_, aux.pedersen.lam)
        ]
    return found


# inspect


def test_inspect_shows_what_is_public(tmp_path, sets):
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[1], sets[1], foreign=False)])
    ran = succeeds("inspect", file, "--json")
    (found,) = ran.json["files"][str(file)]
    assert ran.json["sound"] is True
    assert (found["account_id"], found["index"], found["threshold"], found["parties"]) == ("main", 1, 2, 3)
    assert found["public_key"] == SHARES[1].X.to_bytes().hex()
    assert found["aux_id"] == sets[1].aux_id.hex()
    assert found["addresses"]["ethereum"].startswith("0x")
    people = succeeds("inspect", file)
    assert "sound" in people.out
    assert_absent(all_secrets(SHARES[1], sets[1]), ran.out, ran.err, people.out, people.err)


def _more(x):
    return f"{int(x, 16) + 1:064x}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda core: core.update(x=_more(core["x"])), "does not match its public share"),
        (lambda core: core.update(shared_public_key=core["public_shares"][0]), "public_key is not"),
        (lambda core: core["public_shares"].reverse(), "does not match its public share"),
        (lambda core: core["vss_setup"].update(min_signers=3), "fewer than 3 shares give the key"),
        (lambda core: core.update(x="00" * 32), "out of range"),
    ],
    ids=["another secret", "another key", "shares exchanged", "another threshold", "no secret"],
)
def test_inspect_finds_a_share_that_was_tampered_with(tmp_path, change, said):
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[0], None, foreign=False)])
    content = json.loads(file.read_text())
    change(content["main"]["key_share"])
    file.write_text(json.dumps(content))
    ran = fails(3, "inspect", file, "--json")
    assert ran.error["reason"] == "SHARE_FILE_DAMAGED"
    assert f"{file} is damaged: account 'main': " in ran.error["text"]
    assert said in ran.error["text"]
    assert_absent(all_secrets(SHARES[0]), ran.err)


def test_inspect_finds_auxiliary_data_that_was_tampered_with(tmp_path, sets):
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[0], sets[0], foreign=False)])
    content = json.loads(file.read_text())
    content["main"]["aux_v2"]["p"] = sets[1].paillier.p.digits(16)
    file.write_text(json.dumps(content))
    ran = fails(3, "inspect", file)
    assert "is damaged" in ran.err
    assert_absent([*all_secrets(SHARES[0], sets[0]), int(sets[1].paillier.p)], ran.err)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"not json", "is damaged"), (b"[]", "is damaged"), (b'{"a": 1}', "is damaged"), (b"", "is damaged")],
)
def test_inspect_of_what_is_no_share_file(tmp_path, content, said):
    file = tmp_path / "s.json"
    file.write_bytes(content)
    file.chmod(0o600)
    assert said in fails(3, "inspect", file).err


def test_inspect_of_a_missing_file_says_what_to_do(tmp_path):
    ran = fails(3, "inspect", tmp_path / "s.json", "--json")
    assert ran.error["reason"] == "SHARE_FILE_MISSING"
    assert ran.error["text"].startswith("Key share not found")


def test_inspect_refuses_a_plain_file_that_others_may_read(tmp_path):
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[0], None, foreign=False)])
    file.chmod(0o644)
    assert "chmod 600" in fails(3, "inspect", file).err


# export


def test_export_needs_to_be_told_how_to_protect(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets)
    for arguments in ([], ["--plaintext", "--password-file", tmp_path / "x"]):
        ran = fails(2, "export", directory, "-o", tmp_path / "s", *arguments)
        assert "--recipient" in ran.err
    assert not (tmp_path / "s").exists()


def test_export_to_recipients_opens_with_their_keys_only(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets)
    keys = [pyrage.x25519.Identity.generate() for _ in range(3)]
    recipients = [part for key in keys[:2] for part in ("--recipient", str(key.to_public()))]
    ran = succeeds("export", directory, "-o", tmp_path / "s", *recipients, "--json")
    assert ran.json["accounts"] == ["main"]
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert_absent(
        all_secrets(SHARES[0], sets[0]), ran.out, ran.err, (tmp_path / "s").read_bytes().decode("latin-1")
    )
    for key in keys[:2]:
        entries = read_share_file(tmp_path / "s", Unlock((str(key),)), SUITES)
        assert entries["main"].share == SHARES[0]
        assert entries["main"].aux.to_bytes() == sets[0].to_bytes()
    file = secret_file(tmp_path / "age-key", str(keys[2]))
    assert "no given key opens" in fails(3, "inspect", tmp_path / "s", "--age-identity", file).err


def test_export_with_a_password_and_back(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets)
    password = secret_file(tmp_path / "pw", "correct horse\n")
    ran = succeeds("export", directory, "-o", tmp_path / "s", "--password-file", password)
    assert "correct horse" not in ran.out + ran.err
    assert "sound" in succeeds("inspect", tmp_path / "s", "--password-file", password).out
    wrong = secret_file(tmp_path / "wrong", "battery staple\n")
    ran = fails(3, "inspect", tmp_path / "s", "--password-file", wrong)
    assert "wrong password" in ran.err
    assert "battery" not in ran.err
    assert "is encrypted: give its password" in fails(3, "inspect", tmp_path / "s").err


def test_export_in_plain_text_warns(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets)
    ran = succeeds("export", directory, "-o", tmp_path / "s", "--plaintext")
    assert "plain text" in ran.err
    assert read_share_file(tmp_path / "s", suites=SUITES)["main"].share == SHARES[0]
    assert_absent(all_secrets(SHARES[0], sets[0]), ran.out, ran.err)


def test_export_of_some_accounts(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets, ("a", "b", "c"))
    chosen = ["--account", "a", "--account", "c"]
    succeeds("export", directory, "-o", tmp_path / "s", "--plaintext", *chosen)
    assert sorted(read_share_file(tmp_path / "s", suites=SUITES)) == ["a", "c"]
    ran = fails(3, "export", directory, "-o", tmp_path / "t", "--plaintext", "--account", "d", "--json")
    assert ran.error["text"].startswith("Key share not found")
    assert not (tmp_path / "t").exists()


def test_export_overwrites_nothing(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets)
    (tmp_path / "s").write_text("mine")
    fails(3, "export", directory, "-o", tmp_path / "s", "--plaintext")
    assert (tmp_path / "s").read_text() == "mine"


# import


def test_import_takes_a_share_and_its_auxiliary_data(tmp_path, sets):
    directory = node(tmp_path / "node")
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[0], sets[0], foreign=False)])
    ran = succeeds("import", file, directory, "--json")
    (account,) = ran.json["accounts"]
    assert (account["account_id"], account["imported"], account["text"]) == ("main", True, "imported")
    with NodeFiles.of(directory).open() as store:
        record = store.accounts.account("main")
        assert record.origin is Origin.IMPORT
        assert record.aux_id == sets[0].aux_id
        assert store.accounts.share("main") == SHARES[0].to_bytes()
        assert store.check() == []
    assert_absent(all_secrets(SHARES[0], sets[0]), ran.out, ran.err)


def test_export_and_import_give_back_what_was_lost(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets, ("a", "b"))
    password = secret_file(tmp_path / "pw", "correct horse")
    succeeds("export", directory, "-o", tmp_path / "s", "--password-file", password)
    fresh = node(tmp_path / "fresh")
    succeeds("import", tmp_path / "s", fresh, "--password-file", password)
    with NodeFiles.of(directory).open() as old, NodeFiles.of(fresh).open() as new:
        for account_id in ("a", "b"):
            assert new.accounts.share(account_id) == old.accounts.share(account_id)
            assert new.accounts.account(account_id).aux_id == old.accounts.account(account_id).aux_id


def test_import_without_auxiliary_data_says_what_comes_next(tmp_path):
    directory = node(tmp_path / "node")
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[0], None, foreign=False)])
    assert "run aux" in succeeds("import", file, directory).out


def test_import_of_wallet_mpcs_shape(tmp_path, sets):
    directory = node(tmp_path / "node")
    file = share_file(
        tmp_path / "s.json", [ShareEntry("m/44'/60'/0'/0/0", SHARES[0], sets[0], foreign=False)]
    )
    content = json.loads(file.read_text())
    core = content["m/44'/60'/0'/0/0"]["key_share"]
    aux = {"p": {"radix": 16, "value": "7"}, "q": {"radix": 16, "value": "b"}, "parties": []}
    file.write_text(json.dumps({"m/44'/60'/0'/0/0": {"core": core, "aux": aux}}))
    assert "its auxiliary data is not used" in succeeds("inspect", file).out
    assert "run aux" in succeeds("import", file, directory).out


def test_import_leaves_what_the_store_has(tmp_path, sets):
    directory = node_with(tmp_path / "node", sets)
    other = deal(SMALL_SECP, seed="other")[0]
    file = share_file(tmp_path / "s.json", [ShareEntry("main", other, sets[0], foreign=False)])
    ran = succeeds("import", file, directory)
    assert "NOT imported" in ran.out
    assert "ANOTHER KEY" in ran.out
    with NodeFiles.of(directory).open() as store:
        assert store.accounts.share("main") == SHARES[0].to_bytes()


def test_import_refuses_the_share_of_another_index(tmp_path, sets):
    directory = node(tmp_path / "node", index=0)
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[1], sets[1], foreign=False)])
    ran = fails_softly(3, "import", file, directory)
    assert "party index 1, but this node has index 0" in ran.out
    with NodeFiles.of(directory).open() as store:
        assert store.accounts.accounts() == []


def fails_softly(code, *arguments):
    """A command that answers account by account on standard output, and ends with a code because of one of them."""
    ran = invoke(*arguments)
    assert ran.code == code, ran
    return ran


def test_import_refuses_the_share_of_another_committee(tmp_path):
    directory = node(tmp_path / "node")
    share = deal(SMALL_SECP, n=5)[0]
    file = share_file(tmp_path / "s.json", [ShareEntry("main", share, None, foreign=False)])
    assert "5 parties" in fails_softly(3, "import", file, directory).out


def test_import_of_one_account_of_many(tmp_path):
    directory = node(tmp_path / "node")
    entries = [ShareEntry(name, deal(SMALL_SECP, seed=name)[0], None, foreign=False) for name in ("a", "b")]
    file = share_file(tmp_path / "s.json", entries)
    succeeds("import", file, directory, "--account", "b")
    with NodeFiles.of(directory).open() as store:
        assert [record.account_id for record in store.accounts.accounts()] == ["b"]
    assert "no account 'c'" in fails(2, "import", file, directory, "--account", "c").err


def test_import_into_a_node_that_does_not_know_its_committee(tmp_path):
    NodeFiles.of(tmp_path / "node").make(node_keys()[0])
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[0], None, foreign=False)])
    assert "--committee" in fails(2, "import", file, tmp_path / "node").err
    write_committee(tmp_path / "c.yaml", committee_of())
    succeeds("import", file, tmp_path / "node", "--committee", tmp_path / "c.yaml")


def test_import_into_a_directory_that_is_no_node(tmp_path):
    file = share_file(tmp_path / "s.json", [ShareEntry("main", SHARES[0], None, foreign=False)])
    assert "there is no store" in fails(3, "import", file, tmp_path).err

"""The backup file: what it holds, and that nothing in it can be changed."""

import base64
import json
import os
from dataclasses import replace

import pytest
from backup_testing import SUITES, make, recovery_key, shares
from node_testing import committee_of, deal, node_keys
from tss_testing import TINY, SeededRng

from participant.backup import backup
from participant.backup.errors import BackupInvalid, BackupLocked
from participant.identity import NodeKeys
from tss.encoding import decode, encode
from tss.rand import scalar
from tss.vss import Polynomial

KEYS = [recovery_key("x25519", number) for number in range(3)]
PUBLIC = [key.public for key in KEYS]


@pytest.fixture(scope="module")
def file():
    return make(PUBLIC, 2)


def test_a_quorum_restores_everything_and_fewer_nothing(file):
    found = backup.read(file, SUITES)
    found.verify()
    assert (found.quorum, found.identity, found.created_at) == (2, node_keys()[0].identity, 1_800_000_000)
    assert found.committee == committee_of()
    for keys in (KEYS, KEYS[:2], KEYS[1:], [KEYS[2], KEYS[0]]):
        restored = found.open(keys)
        assert restored.keys.to_bytes() == node_keys()[0].to_bytes()
        assert dict(restored.shares) == {name: share for name, (_, share) in shares().items()}
    for keys in ([], KEYS[:1], [KEYS[0]] * 3, [KEYS[0], recovery_key("x25519", 9)]):
        with pytest.raises(BackupLocked, match="2 of its recovery keys"):
            found.open(keys)


@pytest.mark.parametrize("kind", ["p256", "rsa", "mlkem768-x25519"])
def test_each_kind_of_key_restores(kind):
    found = backup.read(make([recovery_key(kind).public]), SUITES)
    assert found.open([recovery_key(kind)]).shares["main"] == shares()["main"][1]


def test_kinds_can_be_mixed_and_a_node_without_accounts_is_backed_up():
    keys = [recovery_key(kind) for kind in ("x25519", "p256", "mlkem768-x25519")]
    found = backup.read(make([key.public for key in keys], 3), SUITES)
    assert found.open(keys).shares["edwards"] == shares()["edwards"][1]
    empty = backup.make(node_keys()[1], committee_of(), {}, PUBLIC, 1, created_at=1, rng=SeededRng("empty"))
    assert backup.read(empty, SUITES).open(KEYS[:1]).keys.identity == node_keys()[1].identity


STRIDE = int(os.environ.get("WALLET_MPC_FLIP_STRIDE", "97"))
"""Every so many bytes are flipped; 1 takes minutes."""


def test_every_flipped_byte_is_rejected_without_a_private_key():
    """By the signature and the one form of the text; that each part is also proved is shown below."""
    file = make(PUBLIC[:1])
    ends = 160
    for position in (
        *range(ends),
        *range(ends, len(file) - ends, STRIDE),
        *range(len(file) - ends, len(file)),
    ):
        changed = bytearray(file)
        changed[position] ^= 1 << position % 8
        with pytest.raises(BackupInvalid):
            backup.read(bytes(changed), SUITES)
    for changed in (file[:-1], file + b"\n", b" " + file, b"", b"[]", b"null", file.replace(b",", b", ", 1)):
        with pytest.raises(BackupInvalid):
            backup.read(changed, SUITES)


def test_no_secret_is_in_the_file(file):
    body = base64.b64decode(json.loads(file)["body"])
    for _, share in shares().values():
        for secret in (share.x.to_bytes(32, "big"), share.chain_code, node_keys()[0].to_bytes()[-32:]):
            if secret:
                assert secret not in body
                assert secret.hex().encode() not in file


def resigned(file, change, keys=None):
    """The file with its body changed, and signed by its node all the same."""
    body = decode(base64.b64decode(json.loads(file)["body"]), backup._BODY)
    changed = encode(change(body))
    return backup._outer(changed, (keys or node_keys()[0]).sign(backup._signed(changed)))


def at(place, value):
    def change(body):
        return [*body[:place], value(body[place]) if callable(value) else value, *body[place + 1 :]]

    return change


def in_account(place, value):
    def change(accounts):
        first = accounts[0]
        return [[*first[:place], value(first[place]), *first[place + 1 :]], *accounts[1:]]

    return at(4, change)


OTHER = shares(["other"])["other"][1]
WRONG_PUBLIC = {
    "another tag": at(0, "other"),
    "no committee": at(2, "nonsense"),
    "an identity that is no member": at(3, NodeKeys.generate(SeededRng("x")).identity),
    "an account twice": at(4, lambda accounts: [accounts[0], accounts[0]]),
    "an unknown curve": in_account(1, lambda _: "p521"),
    "another curve": in_account(1, lambda _: "ed25519"),
    "threshold 1": in_account(4, lambda _: 1),
    "threshold 4": in_account(4, lambda _: 4),
    "another party": in_account(5, lambda _: 2),
    "no party": in_account(5, lambda _: 9),
    "another public key": in_account(6, lambda _: OTHER.X.to_bytes()),
    "no point": in_account(6, lambda _: b"\5" * 5),
    "another's public share": in_account(7, lambda rows: [rows[0], [2, OTHER.X.to_bytes()], rows[2]]),
    "own share of another key": in_account(7, lambda rows: [[1, OTHER.X.to_bytes()], *rows[1:]]),
    "a share too few": in_account(7, lambda rows: rows[:2]),
    "indices unsorted": in_account(7, lambda rows: rows[::-1]),
    "an index twice": in_account(7, lambda rows: [*rows[:2], rows[1]]),
    "index 0": in_account(7, lambda rows: [[0, rows[0][1]], *rows[1:]]),
    "another share committed to": in_account(9, lambda points: [OTHER.X.to_bytes(), *points[1:]]),
    "another quorum of one account": in_account(9, lambda points: points[:1]),
    "a key twice": at(6, lambda keys: [keys[0], keys[0], keys[2]]),
    "a key without a proof": at(7, lambda proofs: proofs[:2]),
    "keys without proofs": at(6, lambda keys: keys[:1]),
    "a quorum of more than there are": lambda body: at(6, body[6][:1])(at(7, body[7][:1])(body)),
    "an unknown kind of key": at(6, lambda keys: [["other", keys[0][1]], *keys[1:]]),
}


@pytest.mark.parametrize("what", WRONG_PUBLIC)
def test_a_node_that_signs_what_cannot_be_is_refused(file, what):
    """Before any proof is looked at, which would show it, too."""
    with pytest.raises(Exception, match=r".") as caught:
        backup.read(resigned(file, WRONG_PUBLIC[what]), SUITES)
    assert type(caught.value).__name__ in {"BackupInvalid", "BadRecoveryKey"}, caught.value


def test_a_backup_of_another_members_share_is_refused():
    rng, committee = SeededRng("other"), committee_of()
    made = [
        backup.make(node_keys()[0], committee, shares(party=party), PUBLIC, 1, created_at=1, rng=rng)
        for party in (1, 2)
    ]
    backup.read(made[0], SUITES)
    with pytest.raises(BackupInvalid, match="'main': the share is not this member's"):
        backup.read(made[1], SUITES)


def test_a_file_of_another_kind_version_or_size(file, monkeypatch):
    for name, other in ((b"wallet-mpc backup", b"wallet-mpc_backup"), (b'"version": 1', b'"version": 2')):
        changed = file.replace(name, other).replace(name.replace(b" ", b""), other.replace(b" ", b""))
        assert changed != file
        with pytest.raises(BackupInvalid, match="no backup of version 1"):
            backup.read(changed, SUITES)
    with pytest.raises(BackupInvalid, match="no backup of version 1"):
        backup.read(b"[]", SUITES)
    monkeypatch.setattr(backup, "MAX_FILE_BYTES", len(file))
    backup.read(file, SUITES)
    monkeypatch.setattr(backup, "MAX_FILE_BYTES", len(file) - 1)
    with pytest.raises(BackupInvalid):
        backup.read(file, SUITES)


SHARE = shares()["main"][1]
GOOD = backup.BackedUp.of("main", SHARE, Polynomial.random(TINY.group, 2, SeededRng("good"), SHARE.x))
G, Q = TINY.group.G, TINY.group.q


def of(t, n):
    share = deal(TINY, t, n)[0]
    return backup.BackedUp.of("main", share, Polynomial.random(TINY.group, 2, SeededRng((t, n)), share.x))


@pytest.mark.parametrize("account", [GOOD, of(3, 3), of(2, 16)], ids=["2 of 3", "3 of 3", "2 of 16"])
def test_what_can_be_is_one_key(account):
    account.check()


@pytest.mark.parametrize(
    ("account", "problem"),
    [
        (replace(GOOD, t=1), "impossible threshold"),
        (replace(GOOD, t=4), "impossible threshold"),
        (of(2, 17), "impossible threshold"),
        (replace(GOOD, public_shares={0: GOOD.X, **GOOD.public_shares}), "impossible index"),
        (replace(GOOD, public_shares={**GOOD.public_shares, Q: GOOD.X}), "impossible index"),
        (replace(GOOD, me=9), "has no share"),
        (replace(GOOD, commitments=(GOOD.commitments[0], TINY.group.identity)), "is the identity"),
        (replace(GOOD, X=GOOD.X + G), "not of one key"),
        (replace(GOOD, public_shares={**GOOD.public_shares, 3: GOOD.public_shares[3] + G}), "not of one key"),
        (
            replace(GOOD, commitments=(GOOD.commitments[0] + G, GOOD.commitments[1])),
            "another share is backed",
        ),
    ],
)
def test_each_check_of_what_is_public_by_itself(account, problem):
    """In a file the proofs cover all of it, too."""
    with pytest.raises(BackupInvalid, match=problem):
        account.check()


def test_a_share_that_is_not_the_public_one_is_refused():
    assert GOOD.share(SHARE.x, SHARE.chain_code) == SHARE
    with pytest.raises(BackupInvalid, match="the share of account 'main' is wrong"):
        GOOD.share((SHARE.x + 1) % Q, SHARE.chain_code)


def test_recovery_keys_and_accounts_are_bounded(monkeypatch):
    many = [recovery_key("x25519", number).public for number in range(17)]
    assert backup.read(make(many[:16], 1), SUITES).quorum == 1
    with pytest.raises(BackupInvalid, match="1 to 16 recovery keys"):
        make(many, 1)
    monkeypatch.setattr(backup, "MAX_ACCOUNTS", len(shares()))
    make(many[:1])
    monkeypatch.setattr(backup, "MAX_ACCOUNTS", len(shares()) - 1)
    with pytest.raises(BackupInvalid, match="1 accounts at most"):
        make(many[:1])


WRONG_PROOF = {
    "proofs exchanged": at(7, lambda proofs: [proofs[1], proofs[0], proofs[2]]),
    "a proof changed": at(7, lambda proofs: [proofs[0][:-1] + bytes([proofs[0][-1] ^ 1]), *proofs[1:]]),
    "another time": at(1, 5),
    "another threshold": in_account(4, lambda _: 3),
    "another epoch": in_account(3, lambda _: bytes(32)),
    "another chain code": in_account(8, lambda _: bytes(32)),
    "another name": in_account(0, lambda _: "another"),
    "another polynomial": in_account(9, lambda points: [points[0], OTHER.X.to_bytes()]),
    "another node's scalar": at(5, lambda points: points[::-1]),
}


@pytest.mark.parametrize("what", WRONG_PROOF)
def test_a_node_that_signs_what_its_proofs_do_not_show_is_found_by_anybody(file, what):
    found = backup.read(resigned(file, WRONG_PROOF[what]), SUITES)
    with pytest.raises(BackupInvalid, match="proof"):
        found.verify()
    with pytest.raises(BackupInvalid, match="proof"):
        found.open(KEYS)


def test_what_nobody_can_verify_is_found_when_it_is_opened(file, monkeypatch):
    changed = resigned(file, at(8, lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1])))
    found = backup.read(changed, SUITES)
    found.verify()
    with pytest.raises(BackupInvalid, match="identity keys are damaged"):
        found.open(KEYS)

    def sealing(**wrong):
        """A backup whose node seals something else than it should."""
        real = backup.encode

        def lying(value):
            if (
                isinstance(value, list)
                and len(value) == 2
                and isinstance(value[1], list)
                and value[0] == own.to_bytes()
            ):
                value = [wrong.get("keys", value[0]), wrong.get("codes", value[1])]
            return real(value)

        own = node_keys()[0]
        with monkeypatch.context() as patch:
            patch.setattr(backup, "encode", lying)
            lie = make(PUBLIC[:1])
        found = backup.read(lie, SUITES)
        found.verify()
        with pytest.raises(BackupInvalid) as caught:
            found.open(KEYS[:1])
        return str(caught.value)

    assert "another node's" in sealing(keys=node_keys()[1].to_bytes())
    assert "other accounts" in sealing(codes=[])
    assert "chain code is another" in sealing(codes=[bytes(32), b""])
    assert "chain code" in sealing(codes=[bytes(31), b""])


def test_what_cannot_be_made_is_refused():
    for recipients, quorum in (([], 1), (PUBLIC, 0), (PUBLIC, 4), ([PUBLIC[0]] * 2, 1)):
        with pytest.raises(BackupInvalid):
            make(recipients, quorum)


def test_two_backups_share_no_randomness():
    rng = SeededRng("two")
    first, second = (
        backup.make(node_keys()[0], committee_of(), shares(), PUBLIC, 2, created_at=1, rng=rng)
        for _ in range(2)
    )
    a, b = backup.read(first, SUITES), backup.read(second, SUITES)
    assert a.node != b.node
    assert a.sealed != b.sealed
    assert a.accounts[0].commitments[0] == b.accounts[0].commitments[0]
    assert a.accounts[0].commitments[1] != b.accounts[0].commitments[1]
    assert scalar(rng, 1 << 64) >= 0

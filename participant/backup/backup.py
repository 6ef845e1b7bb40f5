"""The backup file of one node: its shares, identity and chain codes, for a quorum of recovery keys.

    {"format": "wallet-mpc backup", "version": 1, "body": base64 of ENC, "signature": hexadecimal}

The body is public but for what is sealed in it. Its scalars - one of the node, and the share of each account - are shared
k of m by polynomials whose commitments stand in it, and each recovery key's values are encrypted to it verifiably
(`pve`). The node's scalar seals the identity keys and chain codes, which nobody can verify but whoever opens them. The
identity key signs the body, and a text has one form: no byte can be changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from participant.backup import kem, pve
from participant.backup.errors import BackupInvalid, BackupLocked
from participant.committee import BadCommittee, Committee, NotAMember
from participant.identity import NodeKeys
from tss.encoding import Bytes, Integer, ListOf, Text, Tuple, Value, decode, encode
from tss.envelope import SIGNATURE_BYTES, verify_signature
from tss.errors import ProtocolError, ShareCorrupt
from tss.groups import SECP256K1, Point
from tss.params import MAX_PARTIES, Suite
from tss.rand import Rng, scalar
from tss.records import KeyShare
from tss.vss import Polynomial, commitment_at, interpolate, lagrange

FORMAT: Final = "wallet-mpc backup"
VERSION: Final = 1
MAX_RECIPIENTS: Final = 16
MAX_ACCOUNTS: Final = 1024
MAX_FILE_BYTES: Final = 1 << 26

_TAG: Final = "wallet-mpc/v1 backup"
_NONCE: Final = bytes(12)
"""The node's scalar is fresh in every backup, and seals once."""

_ID: Final = Bytes(32)
_POINT: Final = Bytes(0, 64)
_COMMITMENTS: Final = ListOf(_POINT, 1, MAX_RECIPIENTS)
_ACCOUNT: Final = Tuple(
    Text(512), Text(32), _ID, _ID, Integer(8), Integer(32), _POINT,
    ListOf(Tuple(Integer(32), _POINT), 2, MAX_PARTIES), Bytes(0, 32), _COMMITMENTS,
)  # fmt: skip
_HEAD: Final = (
    Text(64), Integer(64), Text(1 << 20), _ID, ListOf(_ACCOUNT, 0, MAX_ACCOUNTS), _COMMITMENTS,
    ListOf(Tuple(Text(32), Bytes(0, 4096)), 1, MAX_RECIPIENTS),
)  # fmt: skip
_BODY: Final = Tuple(*_HEAD, ListOf(Bytes(0, 1 << 24), 1, MAX_RECIPIENTS), Bytes(0, 1 << 20))
_SECRETS: Final = Tuple(Bytes(0, 256), ListOf(Bytes(0, 32), 0, MAX_ACCOUNTS))


@dataclass(frozen=True)
class BackedUp:
    """What is public about one account in a backup."""

    account_id: str
    suite: Suite
    key_id: bytes
    share_epoch: bytes
    t: int
    me: int
    X: Point
    public_shares: Mapping[int, Point]
    c_hash: bytes
    """Empty for a key without chain code."""
    commitments: tuple[Point, ...]
    """Of the polynomial that shares x_me among the recovery keys; the first is X_me."""

    @classmethod
    def of(cls, account_id: str, share: KeyShare, polynomial: Polynomial) -> Self:
        """For a share."""
        return cls(
            account_id, share.suite, share.key_id, share.share_epoch, share.t, share.me, share.X,
            dict(share.public_shares), share.c_hash or b"", tuple(polynomial.commit()),
        )  # fmt: skip

    def to_value(self, curve: str) -> list[Value]:
        """For ENC."""
        shares: list[Value] = [
            [index, point.to_bytes()] for index, point in sorted(self.public_shares.items())
        ]
        return [
            self.account_id, curve, self.key_id, self.share_epoch, self.t, self.me, self.X.to_bytes(), shares,
            self.c_hash, [point.to_bytes() for point in self.commitments],
        ]  # fmt: skip

    def check(self) -> None:
        """Raise BackupInvalid unless the public shares are those of one key of threshold t, and ours is committed to."""
        indices = sorted(self.public_shares)
        _need(2 <= self.t <= len(indices) <= MAX_PARTIES, f"{self.account_id!r}: impossible threshold")
        _need(
            all(0 < index < self.suite.group.q for index in indices), f"{self.account_id!r}: impossible index"
        )
        _need(self.me in self.public_shares, f"{self.account_id!r}: this party has no share")
        points = [self.X, *self.public_shares.values(), *self.commitments]
        _need(not any(point.is_identity for point in points), f"{self.account_id!r}: a point is the identity")
        base, rest = indices[: self.t], indices[self.t :]
        for z, expected in [(0, self.X), *((index, self.public_shares[index]) for index in rest)]:
            _need(self._at(base, z) == expected, f"{self.account_id!r}: the public shares are not of one key")
        _need(
            self.commitments[0] == self.public_shares[self.me],
            f"{self.account_id!r}: another share is backed up",
        )

    def _at(self, base: list[int], z: int) -> Point:
        group = self.suite.group
        return group.sum([lagrange(base, i, z, group.q) * self.public_shares[i] for i in base])

    def share(self, x: int, chain_code: bytes) -> KeyShare:
        """The share with its secrets, checked whole. Raises BackupInvalid."""
        share = KeyShare(
            self.suite,
            self.key_id,
            self.share_epoch,
            self.t,
            self.me,
            self.X,
            dict(self.public_shares),
            chain_code,
            x,
        )
        try:
            share.check()
        except ShareCorrupt as error:
            raise BackupInvalid(f"the share of account {self.account_id!r} is wrong: {error}") from None
        _need((share.c_hash or b"") == self.c_hash, f"{self.account_id!r}: the chain code is another one")
        return share


@dataclass(frozen=True)
class Restored:
    """What a backup held."""

    keys: NodeKeys = field(repr=False)
    committee: Committee
    shares: Mapping[str, KeyShare] = field(repr=False)


@dataclass(frozen=True)
class Backup:
    """A backup that was read, or made. `read` has compared all that is public in it but the proofs: `verify` does."""

    created_at: int
    """Seconds since 1970, as the node says."""
    committee: Committee
    identity: bytes
    accounts: tuple[BackedUp, ...]
    node: tuple[Point, ...]
    """Commitments of the node's scalar."""
    recipients: tuple[kem.RecoveryPublic, ...]
    proofs: tuple[bytes, ...]
    sealed: bytes = field(repr=False)
    head: bytes = field(repr=False)
    """ENC of all before proofs and sealed: the context of every proof."""

    @property
    def quorum(self) -> int:
        """How many recovery keys open it."""
        return len(self.node)

    def _statement(self, place: int) -> pve.Statement:
        """What recipient `place` (from 0) got: the values of all polynomials at place + 1."""
        commitments = (self.node, *(account.commitments for account in self.accounts))
        points = tuple(commitment_at(list(one), place + 1) for one in commitments)
        context = hashlib.sha256(self.head).digest() + place.to_bytes(4, "big")
        return pve.Statement(context, self.recipients[place], points)

    def verify(self) -> None:
        """Raise BackupInvalid unless every recovery key can decrypt its part of every share. Needs no private key."""
        for place, proof in enumerate(self.proofs):
            pve.verify(self._statement(place), proof)

    def open(self, keys: Sequence[kem.RecoveryPrivate]) -> Restored:
        """With a quorum of recovery keys, verified and checked whole. Raises BackupInvalid, BackupLocked."""
        self.verify()
        values: dict[int, list[int]] = {}
        for key in keys:
            for place, recipient in enumerate(self.recipients):
                if (recipient.kind, recipient.encoded) == (key.public.kind, key.public.encoded):
                    values[place + 1] = pve.open_(self._statement(place), self.proofs[place], key)
        if len(values) < self.quorum:
            raise BackupLocked(
                f"the backup opens with {self.quorum} of its recovery keys, and {len(values)} of those are here: "
                + ", ".join(f"{recipient.kind} {recipient.fingerprint}" for recipient in self.recipients)
            )
        points = dict(list(values.items())[: self.quorum])
        groups = [SECP256K1, *(account.suite.group for account in self.accounts)]
        opened = [
            interpolate({index: found[place] for index, found in points.items()}, 0, group.q)
            for place, group in enumerate(groups)
        ]
        return self._restored(opened[0], opened[1:])

    def _restored(self, node: int, xs: Sequence[int]) -> Restored:
        try:
            plaintext = AESGCMSIV(_sealing_key(node)).decrypt(_NONCE, self.sealed, self.head)
            seeds, chain_codes = decode(plaintext, _SECRETS)
            keys = NodeKeys.from_bytes(seeds)
        except (InvalidTag, ProtocolError, ValueError):
            raise BackupInvalid(
                "the backup's identity keys are damaged: its node sealed something else"
            ) from None
        _need(keys.identity == self.identity, "the identity keys in the backup are another node's")
        _need(len(chain_codes) == len(self.accounts), "the backup has chain codes of other accounts")
        shares = {
            account.account_id: account.share(x, chain_code)
            for account, x, chain_code in zip(self.accounts, xs, chain_codes, strict=True)
        }
        return Restored(keys, self.committee, shares)


def make(
    keys: NodeKeys,
    committee: Committee,
    shares: Mapping[str, tuple[str, KeyShare]],
    recipients: Sequence[kem.RecoveryPublic],
    quorum: int,
    *,
    created_at: int,
    rng: Rng,
) -> bytes:
    """The file. `shares`: (curve, share) by account id, all of `committee`. Raises BackupInvalid for what cannot be."""
    _need(
        1 <= quorum <= len(recipients) <= MAX_RECIPIENTS,
        f"a quorum of 1 to {MAX_RECIPIENTS} recovery keys is needed",
    )
    _need(len({one.encoded for one in recipients}) == len(recipients), "a recovery key is named twice")
    _need(len(shares) <= MAX_ACCOUNTS, f"a backup holds {MAX_ACCOUNTS} accounts at most")
    node = Polynomial.random(SECP256K1, quorum, rng, 1 + scalar(rng, SECP256K1.q - 1))
    polynomials = [Polynomial.random(share.suite.group, quorum, rng, share.x) for _, share in shares.values()]
    accounts = [
        BackedUp.of(account_id, share, polynomial)
        for (account_id, (_, share)), polynomial in zip(shares.items(), polynomials, strict=True)
    ]
    head = [
        _TAG, created_at, committee.to_yaml(), keys.identity,
        [account.to_value(shares[account.account_id][0]) for account in accounts],
        [point.to_bytes() for point in node.commit()],
        [[recipient.kind, recipient.encoded] for recipient in recipients],
    ]  # fmt: skip
    encoded = encode(head)
    secrets = encode([keys.to_bytes(), [share.chain_code for _, share in shares.values()]])
    sealed = AESGCMSIV(_sealing_key(node.coefficients[0])).encrypt(_NONCE, secrets, encoded)
    backup = Backup(
        created_at,
        committee,
        keys.identity,
        tuple(accounts),
        tuple(node.commit()),
        tuple(recipients),
        (),
        sealed,
        encoded,
    )
    proofs = [
        pve.prove(
            backup._statement(place),  # noqa: SLF001 - its own
            [polynomial.evaluate(place + 1) for polynomial in (node, *polynomials)],
            rng,
        )
        for place in range(len(recipients))
    ]
    body = encode([*head, list(proofs), sealed])
    return _outer(body, keys.sign(_signed(body)))


def read(data: bytes, suites: Mapping[str, Suite]) -> Backup:
    """The backup in a file, all compared that takes no proof. Raises BackupInvalid."""
    body = _inner(data)
    try:
        tag, created_at, text, identity, rows, node, recipients, proofs, sealed = decode(body, _BODY)
    except ProtocolError as error:
        raise BackupInvalid(f"the backup is damaged: {error}") from None
    _need(tag == _TAG, "this is no backup")
    try:
        committee = Committee.from_yaml(text)
        index = committee.index_of(identity)
    except (BadCommittee, NotAMember) as error:
        raise BackupInvalid(f"the backup's committee is wrong: {error}") from None
    signature = bytes.fromhex(_loaded(data)["signature"])
    _need(
        verify_signature(identity, _signed(body), signature),
        "the backup is not signed by its node, or was changed",
    )
    head = encode([tag, created_at, text, identity, rows, node, recipients])
    accounts = tuple(_account(row, suites) for row in rows)
    names = [account.account_id for account in accounts]
    _need(len(set(names)) == len(names), "an account stands twice in the backup")
    for account in accounts:
        account.check()
        _need(account.me == index + 1, f"{account.account_id!r}: the share is not this member's")
        _need(len(account.public_shares) == committee.n, f"{account.account_id!r}: of another committee")
        _need(len(account.commitments) == len(node), f"{account.account_id!r}: another quorum")
    keys = tuple(kem.public_of(kind, encoded) for kind, encoded in recipients)
    _need(
        len({key.encoded for key in keys}) == len(keys) == len(proofs), "the backup's recovery keys are wrong"
    )
    _need(len(node) <= len(keys), "the backup's quorum is larger than its number of recovery keys")
    points = tuple(_point(SECP256K1, encoded) for encoded in node)
    return Backup(int(created_at), committee, identity, accounts, points, keys, tuple(proofs), sealed, head)


def _account(row: list[Any], suites: Mapping[str, Suite]) -> BackedUp:
    account_id, curve, key_id, epoch, t, me, X, shares, c_hash, commitments = row
    _need(curve in suites, f"{account_id!r}: unknown curve {curve!r}")
    suite = suites[curve]
    group = suite.group
    public = {int(index): _point(group, point) for index, point in shares}
    _need(
        [int(index) for index, _ in shares] == sorted(public),
        f"{account_id!r}: indices repeat or are unsorted",
    )
    return BackedUp(
        account_id, suite, key_id, epoch, int(t), int(me), _point(group, X), public, c_hash,
        tuple(_point(group, point) for point in commitments),
    )  # fmt: skip


def _point(group: Any, encoded: bytes) -> Point:
    try:
        found: Point = group.decode_point(encoded)
    except ProtocolError as error:
        raise BackupInvalid(f"the backup has a point that is none: {error}") from None
    return found


def _sealing_key(node: int) -> bytes:
    return hashlib.sha256(b"wallet-mpc/v1 backup seal\0" + int(node).to_bytes(32, "big")).digest()


def _signed(body: bytes) -> bytes:
    """What the identity key signs. Its tag keeps it apart from messages of protocols, which begin with PROTO."""
    return encode([_TAG, VERSION, hashlib.sha256(body).digest()])


def _outer(body: bytes, signature: bytes) -> bytes:
    content = {
        "format": FORMAT,
        "version": VERSION,
        "body": base64.b64encode(body).decode(),
        "signature": signature.hex(),
    }
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _loaded(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_FILE_BYTES:
        raise BackupInvalid(f"a backup has {MAX_FILE_BYTES} bytes at most")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise BackupInvalid("this is no backup: JSON is expected") from None
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (FORMAT, VERSION):
        raise BackupInvalid(f"this is no backup of version {VERSION}")
    return content


def _inner(data: bytes) -> bytes:
    """The body. A file is accepted in the one form in which it is written."""
    content = _loaded(data)
    try:
        body = base64.b64decode(content["body"], validate=True)
        signature = bytes.fromhex(content["signature"])
    except (KeyError, TypeError, ValueError):
        raise BackupInvalid("the backup is damaged: body and signature are expected") from None
    _need(
        len(signature) == SIGNATURE_BYTES and _outer(body, signature) == data,
        "the backup was changed: it is not in the form in which it was written",
    )
    return body


def _need(holds: bool, what: str) -> None:  # noqa: FBT001 - an assertion reads best as one
    if not holds:
        raise BackupInvalid(f"the backup is wrong: {what}")

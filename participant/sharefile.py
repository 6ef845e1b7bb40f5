"""Key share files: account id -> share, in the shape that users of wallet-mpc have.

Two shapes are read: `{"core": {...}, "aux": {...}}` of wallet-mpc, whose aux data is discarded (it uses one modulus in
two roles), and ours, `{"public_key", "key_id", "share_epoch", "key_share" (the core), "aux_v2"}`. Ours is written
encrypted in the age format, to X25519 recipients or a password; in plain only when told so.
Every share is checked whole before anybody sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gmpy2 import mpz

from participant.age_files import ShareFileError, Unlock, decrypt, encrypt, is_encrypted
from participant.committee import Committee
from participant.files import check_private, create_private
from participant.identity import hex_field
from participant.payloads import strict_json
from participant.payloads.errors import PayloadError
from participant.store.accounts import check_account_id
from participant.store.errors import KeyShareNotFound, StoreConflict
from tss.errors import PeerFault, ProtocolError
from tss.paillier import PaillierSecret
from tss.params import CGGMP24_SECP256K1, FROST_ED25519, MAX_PARTIES, Suite
from tss.records import AuxPublic, AuxSet, KeyShare, chain_code_hash
from tss.ring_pedersen import RingPedersenSecret
from tss.transcript import hash_commit

MAX_SHARE_FILE: Final = 64 << 20

SUITES: Final[Mapping[str, Suite]] = {"secp256k1": CGGMP24_SECP256K1, "ed25519": FROST_ED25519}
"""Suite by the `curve` of a share."""

_CORE_KEYS: Final = {"curve", "i", "shared_public_key", "public_shares", "vss_setup", "chain_code", "x"}
_AUX_KEYS: Final = {"aux_id", "p", "q", "pedersen", "parties"}


class ShareFileMissing(ShareFileError):
    """There is no such file."""


class ShareFileDamaged(ShareFileError):
    """Not a share file, or one whose content contradicts itself."""


class ShareMisplaced(ShareFileError):
    """A sound share that belongs to another place or committee than this node's."""


@dataclass(frozen=True)
class ShareEntry:
    """One account of a share file, checked."""

    account_id: str
    share: KeyShare
    aux: AuxSet | None
    """None for foreign shares, and for ours before the first aux run."""
    foreign: bool
    """Whether key_id and share_epoch were derived from the public record, because the file has none."""

    def check_place(self, committee: Committee, identity: bytes) -> None:
        """Raise ShareMisplaced unless this is the share of member `identity` of `committee`.

        Evaluation points must be 1..n, by rank of identity, as the committee's are.
        """
        point = committee.point_of(identity)
        if self.share.indices != list(range(1, committee.n + 1)):
            raise ShareMisplaced(
                f"the share of account {self.account_id!r} is for {self.share.n} parties at points "
                f"{self.share.indices}, the committee has {committee.n} at 1..{committee.n}"
            )
        if self.share.me != point:
            raise ShareMisplaced(
                f"the share of account {self.account_id!r} is that of party index {self.share.me - 1}, but this node has "
                f"index {point - 1} in the committee: import the file with its own index"
            )


def read_share_file(
    path: Path, unlock: Unlock | None = None, suites: Mapping[str, Suite] = SUITES
) -> dict[str, ShareEntry]:
    """All accounts of a share file.

    Raises ShareFileMissing ("Key share not found"), ShareFileLocked, ShareFileDamaged ("... is damaged: ..."), and
    SecretFileExposed for a plain text file that others may read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SHARE_FILE + 1)
            if not is_encrypted(data):
                check_private(path, file.fileno())
    except FileNotFoundError:
        raise ShareFileMissing(
            f"Key share not found: there is no file {path}. Make shares with mpc-keygen, or correct key_share_file in the "
            "configuration (SIGN_SERVICE_KEY_SHARE_FILE wins over it)"
        ) from None
    except OSError as error:
        raise ShareFileError(f"cannot read {path}: {error.strerror}") from None
    return parse_share_file(data, str(path), unlock, suites)


def find_entry(entries: Mapping[str, ShareEntry], account_id: str, what: str) -> ShareEntry:
    """The entry of one account. Raises KeyShareNotFound, which lists the accounts that there are."""
    if account_id not in entries:
        known = ", ".join(repr(name) for name in sorted(entries)[:10]) or "none"
        raise KeyShareNotFound(
            f"Key share not found: {what} has no account {account_id!r}; its accounts: {known}"
        )
    return entries[account_id]


def parse_share_file(
    data: bytes, what: str, unlock: Unlock | None = None, suites: Mapping[str, Suite] = SUITES
) -> dict[str, ShareEntry]:
    """As `read_share_file`, from bytes; `what` names them in errors."""
    if len(data) > MAX_SHARE_FILE:
        raise ShareFileDamaged(f"{what} is damaged: it is longer than {MAX_SHARE_FILE >> 20} MiB")
    if is_encrypted(data):
        data = decrypt(data, what, unlock or Unlock())
    try:
        content = strict_json.loads(data, "the file", MAX_SHARE_FILE)
    except PayloadError as error:
        raise ShareFileDamaged(f"{what} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise ShareFileDamaged(f"{what} is damaged: it is not an object of account id -> share")
    entries = {}
    for account_id, value in content.items():
        try:
            check_account_id(account_id)
            entries[account_id] = _entry(account_id, value, suites)
        except (ValueError, ProtocolError, StoreConflict) as error:
            reason = error.what if isinstance(error, PeerFault) else str(error)
            raise ShareFileDamaged(f"{what} is damaged: account {account_id!r}: {reason}") from None
    return entries


# Reading


def _entry(account_id: str, value: Any, suites: Mapping[str, Suite]) -> ShareEntry:
    if not isinstance(value, dict) or ("core" in value) == ("key_share" in value):
        raise ValueError("it has neither core nor key_share, or both")
    core = value["core"] if "core" in value else value["key_share"]
    if not isinstance(core, dict) or set(core) != _CORE_KEYS:
        raise ValueError(f"its core is not an object with exactly the keys {', '.join(sorted(_CORE_KEYS))}")
    curve = core["curve"]
    if not isinstance(curve, str) or curve not in suites:
        raise ValueError(f"unknown curve {curve!r}; known: {', '.join(sorted(suites))}")
    suite = suites[curve]
    share = _share(core, value, suite)
    if "public_key" in value and value["public_key"] != share.X.to_bytes().hex():
        raise ValueError("public_key is not the shared_public_key of its core")
    share.check()
    aux = value.get("aux_v2")
    if aux is not None and not suite.has_aux:
        raise ValueError(f"it has auxiliary data, which keys of {curve} do not use")
    return ShareEntry(
        account_id, share, None if aux is None else _aux(aux, share), foreign="key_id" not in value
    )


def _share(core: dict[str, Any], entry: dict[str, Any], suite: Suite) -> KeyShare:
    group = suite.group
    setup = core["vss_setup"]
    if setup is None:
        raise ValueError("its shares are additive (no vss_setup); only threshold shares are taken")
    if not isinstance(setup, dict) or set(setup) != {"min_signers", "I"}:
        raise ValueError("vss_setup is not an object with exactly the keys I, min_signers")
    points = [_scalar(text, suite, "an evaluation point") for text in _strings(setup["I"], "I")]
    public = [
        _point(text, suite, "a public share") for text in _strings(core["public_shares"], "public_shares")
    ]
    t, position = _integer(setup["min_signers"], "min_signers"), _integer(core["i"], "i")
    if len(points) != len(public) or len(set(points)) != len(points):
        raise ValueError("the evaluation points repeat, or are not as many as the public shares")
    if position >= len(points):
        raise ValueError(f"i = {position} is no place among {len(points)} parties")
    X = _point(core["shared_public_key"], suite, "shared_public_key")
    chain_code = hex_field(core["chain_code"], suite.chain_code_bytes, "chain_code")
    public_shares = dict(sorted(zip(points, public, strict=True)))
    if "key_id" in entry:
        key_id = hex_field(entry["key_id"], 32, "key_id")
        share_epoch = hex_field(entry.get("share_epoch"), 32, "share_epoch")
    else:
        # All parties of one dealing derive the same ids, each from its own file.
        record = [
            X,
            chain_code_hash(suite, X, chain_code),
            t,
            [[i, P] for i, P in public_shares.items()],
        ]
        key_id = hash_commit(suite.proto, "imported-key", *record)
        share_epoch = hash_commit(suite.proto, "imported-epoch", *record)
    x = hex_field(core["x"], group.scalar_bytes, "x")
    return KeyShare(
        suite=suite,
        key_id=key_id,
        share_epoch=share_epoch,
        t=t,
        me=points[position],
        X=X,
        public_shares=public_shares,
        chain_code=chain_code,
        x=group.scalar_from_bytes_checked(x),
    )


def _aux(value: Any, share: KeyShare) -> AuxSet:
    if not isinstance(value, dict) or set(value) != _AUX_KEYS:
        raise ValueError(f"aux_v2 is not an object with exactly the keys {', '.join(sorted(_AUX_KEYS))}")
    suite, bits = share.suite, share.suite.level.modulus_bits
    rows = value["parties"]
    if not isinstance(rows, list) or len(rows) != share.n:
        raise ValueError(f"aux_v2 has not {share.n} parties")
    parties = {}
    for index, row in zip(share.indices, rows, strict=True):
        if not isinstance(row, dict) or set(row) != {"N", "N_hat", "s", "t"}:
            raise ValueError("a party of aux_v2 is not an object with exactly the keys N, N_hat, s, t")
        parties[index] = AuxPublic(*(_number(row[name], bits, name) for name in ("N", "N_hat", "s", "t")))
    secret = value["pedersen"]
    if secret is not None and (not isinstance(secret, dict) or set(secret) != {"p", "q", "lam"}):
        raise ValueError("pedersen of aux_v2 is not an object with exactly the keys lam, p, q")
    paillier = PaillierSecret(_number(value["p"], bits, "p"), _number(value["q"], bits, "q"))
    pedersen = None
    if secret is not None:
        p, q_, lam = (_number(secret[name], bits, f"pedersen {name}") for name in ("p", "q", "lam"))
        pedersen = RingPedersenSecret(p, q_, lam, parties[share.me].t)
    aux = AuxSet(suite, hex_field(value["aux_id"], 32, "aux_id"), share.me, parties, paillier, pedersen)
    aux.check()
    return aux


def _strings(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not 2 <= len(value) <= MAX_PARTIES:
        raise ValueError(f"{what} is not a list of 2 to {MAX_PARTIES} items")
    return value


def _integer(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_PARTIES:
        raise ValueError(f"{what} is not a number from 0 to {MAX_PARTIES}")
    return value


def _scalar(value: Any, suite: Suite, what: str) -> int:
    scalar = suite.group.scalar_from_bytes_checked(hex_field(value, suite.group.scalar_bytes, what))
    if scalar == 0:
        raise ValueError(f"{what} is zero")
    return scalar


def _point(value: Any, suite: Suite, what: str) -> Any:
    return suite.group.decode_point(hex_field(value, suite.group.point_bytes, what))


def _number(value: Any, bits: int, what: str) -> Any:
    digits = "0123456789abcdef"
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= bits // 4
        or not set(value) <= set(digits)
        or value[0] == "0"
    ):
        raise ValueError(f"{what} is not a number of at most {bits} bits in lower-case hexadecimal")
    return mpz(value, 16)


# Writing


def encode_share_file(entries: Iterable[ShareEntry]) -> bytes:
    """The JSON of our shape, in plain: whoever reads it has the shares."""
    content = {entry.account_id: _entry_dict(entry) for entry in entries}
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def _entry_dict(entry: ShareEntry) -> dict[str, Any]:
    share, aux = entry.share, entry.aux
    group = share.suite.group
    core = {
        "curve": group.name,
        "i": share.indices.index(share.me),
        "shared_public_key": share.X.to_bytes().hex(),
        "public_shares": [share.public_shares[index].to_bytes().hex() for index in share.indices],
        "vss_setup": {"min_signers": share.t, "I": [group.scalar_to_bytes(i).hex() for i in share.indices]},
        "chain_code": share.chain_code.hex(),
        "x": group.scalar_to_bytes(share.x).hex(),
    }
    return {
        "public_key": share.X.to_bytes().hex(),
        "key_id": share.key_id.hex(),
        "share_epoch": share.share_epoch.hex(),
        "key_share": core,
        "aux_v2": None if aux is None else _aux_dict(aux),
    }


def _aux_dict(aux: AuxSet) -> dict[str, Any]:
    parties = (aux.parties[index] for index in aux.indices)
    secret = aux.pedersen
    return {
        "aux_id": aux.aux_id.hex(),
        "p": f"{int(aux.paillier.p):x}",
        "q": f"{int(aux.paillier.q_):x}",
        "pedersen": None
        if secret is None
        else {"p": f"{int(secret.p):x}", "q": f"{int(secret.q_):x}", "lam": f"{int(secret.lam):x}"},
        "parties": [
            {
                name: f"{int(value):x}"
                for name, value in zip(("N", "N_hat", "s", "t"), party.as_list(), strict=True)
            }
            for party in parties
        ],
    }


def write_share_file(
    path: Path,
    entries: Iterable[ShareEntry],
    *,
    recipients: Sequence[str] = (),
    password: str | None = None,
    plaintext: bool = False,
) -> None:
    """Write a new share file of mode 0600, durable on return.

    Encrypted, unless `plaintext` is set and neither recipients nor a password are given. Raises ShareFileError, and
    SecretFileError when the file exists.
    """
    data = encode_share_file(entries)
    if plaintext:
        if recipients or password:
            raise ShareFileError("plain text and encryption exclude each other: give one of them")
    else:
        data = encrypt(data, recipients=recipients, password=password)
    create_private(path, data)

"""From settings to what a node is made of: store, committee, callers, shares. Everything is checked before a port opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kit.daemon import CannotStart
from kit.logs import get_logger
from kit.settings import Problem, SettingsError
from participant.age_files import Unlock, read_age_identities
from participant.callers import CallerAuth, ExposureRefused, Tokens, check_exposure
from participant.committee import Committee, read_committee
from participant.files import read_private
from participant.identity import NodeKeys
from participant.node import config as node_config
from participant.node.facade import NodeApi
from participant.seal_file import outer_key
from participant.sealing import KeyWrapper, WrongSealingKey
from participant.sharefile import ShareEntry, ShareFileMissing, read_share_file
from participant.store import Store, StoreMissing
from sign_service.settings import ServiceSettings
from tss.errors import BadParameters
from tss.modexp.backend import choose, current
from tss.params import Suite

EXIT_FILES = 3

_log = get_logger(__name__)


def open_store(settings: ServiceSettings) -> Store:
    """The node's store, with an identity in it. Raises StoreError, SealError, SecretFileError."""
    path = settings.store.path
    if not path.exists():
        # Before its key is asked for: a wrong path is the likelier mistake.
        raise StoreMissing(
            f"there is no store at {path}: make a node with `mpc-keygen identity` or `mpc-keygen init`, or correct "
            "store.path"
        )
    try:
        store = Store.open(path, outer_key_of(settings))
    except WrongSealingKey as error:
        raise WrongSealingKey(
            f"the store {path} does not open with {settings.store.opened_by}: {error}"
        ) from None
    try:
        store.identity()
    except BaseException:
        store.close()
        raise
    return store


def outer_key_of(settings: ServiceSettings) -> KeyWrapper:
    """What opens the node's store. Raises SettingsError, SecretFileError, SealError."""
    store = settings.store
    return outer_key(
        store.path, seal_file=store.seal_file, password_file=store.password_file, key_file=store.key_file
    )


def committee_of(settings: ServiceSettings, keys: NodeKeys) -> Committee | None:
    """The committee that the settings name, after comparing everything that they say about it.

    Raises BadCommittee, NotAMember, SettingsError.
    """
    if settings.mpc.committee is None:
        return None
    committee = read_committee(settings.mpc.committee)
    index = committee.index_of(keys.identity)
    server, mpc = settings.server, settings.mpc
    problems = []
    if server.index is not None and server.index != index:
        problems.append(
            _contradiction(
                "server.index",
                f"it is {server.index}, but this node's identity has index {index} in {mpc.committee}: each node has its "
                "own identity and index",
            )
        )
    if mpc.threshold is not None and mpc.threshold != committee.threshold:
        problems.append(
            _contradiction(
                "mpc.threshold", f"it is {mpc.threshold}, the committee's is {committee.threshold}"
            )
        )
    if mpc.total_participants is not None and mpc.total_participants != committee.n:
        problems.append(
            _contradiction(
                "mpc.total_participants", f"it is {mpc.total_participants}, the committee has {committee.n}"
            )
        )
    if problems:
        raise SettingsError(problems)
    return committee


def _contradiction(key: str, what: str) -> Problem:
    return Problem("settings", key, what)


def auth_of(settings: ServiceSettings) -> CallerAuth:
    """How callers prove who they are. Raises SecretFileError, and ExposureRefused for an open door to the network."""
    callers = settings.callers
    auth = CallerAuth(
        Tokens.load(callers.token_file) if callers.token_file is not None else None,
        {
            name: None if accounts is None else frozenset(accounts)
            for name, accounts in callers.certificates.items()
        },
    )
    try:
        check_exposure(settings.server.host, auth)
    except ExposureRefused as error:
        raise SettingsError([Problem("settings", "server.host", str(error))]) from None
    return auth


def choose_powers(settings: ServiceSettings) -> str:
    """Choose the library that computes powers, for the whole process; its name. Raises SettingsError."""
    wanted = settings.node.powers
    try:
        choose(None if wanted == "fastest" else wanted)
    except BadParameters as error:
        raise SettingsError([_contradiction("node.powers", str(error))]) from None
    return current().name


def node_config_of(
    settings: ServiceSettings, committee: Committee | None, version: str
) -> node_config.NodeConfig:
    """The settings as the node takes them."""
    node, stock = settings.node, settings.stock
    deadlines = node_config.Deadlines()
    return node_config.NodeConfig(
        committees=() if committee is None else (committee,),
        gateway_url=settings.gateway.url,
        version=version,
        deadlines=node_config.Deadlines(
            node.phase_seconds,
            {
                **deadlines.phases,
                node_config.IDENTIFICATION: node.identification_seconds,
                **node.deadlines,
            },
        ),
        stock=node_config.StockSettings(
            target=stock.target,
            recent=stock.recent_seconds,
            lifetime=stock.lifetime_seconds,
            batch=stock.batch,
            sets=stock.sets,
            cap=stock.cap,
            idle=stock.idle_seconds,
            pool=stock.pool,
        ),
        refresh=node_config.RefreshSettings(
            every=settings.refresh.every_seconds if settings.refresh.enabled else None,
            jitter=settings.refresh.jitter_seconds,
        ),
        ask=node_config.AskSettings(
            gather=node.ask_gather_seconds, turn=node.ask_turn_seconds, total=node.ask_total_seconds
        ),
        workers=node.workers,
        max_sessions=node.max_sessions,
        max_signing=node.max_signing,
        sign_total=node.sign_seconds,
        proposal_lifetime=node.proposal_seconds,
        max_clock_skew=node.clock_skew_seconds,
        hello_interval=node.hello_seconds,
        away_after=node.away_seconds,
        gather=node.gather_seconds,
        max_share_age=settings.accounts.max_share_seconds,
        deletion_grace=settings.accounts.deletion_grace_seconds,
        primes_target=settings.primes.target,
        prime_processes=settings.primes.processes,
    )


def read_shares(
    settings: ServiceSettings, store: Store, committee: Committee | None, suites: Mapping[str, Suite]
) -> list[ShareEntry]:
    """The shares of the file that the store does not have; for the others the store wins, and a difference is warned of.

    Raises ShareFileError, SecretFileError: a missing file only while the store has no account at all, so that it can be
    put away after it was taken in.
    """
    path = settings.mpc.key_share_file
    if path is None:
        return []
    try:
        entries = read_share_file(path, _unlock(settings), suites)
    except ShareFileMissing:
        if not store.accounts.accounts():
            raise
        _log.info("the key share file is not there; the store has the shares", file=str(path))
        return []
    wanted = []
    for account_id, entry in entries.items():
        if store.accounts.has_account(account_id):
            _compare(store, entry, path)
        else:
            if committee is not None:
                entry.check_place(committee, store.identity().identity)
            wanted.append(entry)
    return wanted


def _unlock(settings: ServiceSettings) -> Unlock:
    password, identities = settings.mpc.key_share_password_file, settings.mpc.key_share_identity_file
    text = None
    if password is not None:
        text = read_private(password).decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
    return Unlock(read_age_identities(identities) if identities is not None else (), text)


def _compare(store: Store, entry: ShareEntry, path: Path) -> None:
    record = store.accounts.account(entry.account_id)
    if record.public_key != entry.share.X.to_bytes():
        what = "the file holds a share of ANOTHER KEY"
    elif record.share_epoch != entry.share.share_epoch and not entry.foreign:
        what = "the file holds another, perhaps older, sharing of the same key"
    else:
        return
    _log.warning(
        "an account is in the store and in the key share file, and they differ: the store's share is used, the file's is "
        "ignored",
        account=entry.account_id,
        file=str(path),
        difference=what,
    )


async def take_shares(
    node: NodeApi, entries: list[ShareEntry], committee: Committee | None, path: Path | None
) -> None:
    """Puts the file's shares into the store. Raises CannotStart for one that does not belong here."""
    if not entries:
        return
    committee_id = None if committee is None else committee.committee_id
    for taken in await node.import_share(entries, committee_id):
        if not taken.imported:
            raise CannotStart(f"{path}: account {taken.account_id!r} is not taken: {taken.text}", EXIT_FILES)
        _log.info("share taken from the key share file", account=taken.account_id, next=taken.text)

"""Accounts that do not sign: frozen, being deleted, restored, too old; each refuses with a reason of its own."""

import pytest
from node_testing import aux_sets, committee_of, deal, new_store
from tss_testing import SMALL_SECP

from participant.node.api import AccountStatus
from participant.node.errors import AccountDeleted, AccountIsFrozen, RefreshNeeded, ShareTooOld
from participant.node.outcomes import failure_of_own
from participant.node.plan import Decline, Declined
from participant.node.planner import _NOT_ACTIVE
from participant.node.records import Records
from participant.node.views import Views
from participant.policy import PolicySettings, RulePolicy
from participant.store import AccountState, NewAux, NewShare, Origin

CID = committee_of().committee_id
SUITES = {"secp256k1": SMALL_SECP}
CASES = {
    AccountState.FROZEN: (AccountIsFrozen, AccountStatus.FROZEN, Decline.ACCOUNT_FROZEN),
    AccountState.DELETING: (AccountDeleted, AccountStatus.DELETING, Decline.ACCOUNT_DELETED),
    AccountState.RESTORED: (RefreshNeeded, AccountStatus.NEEDS_REFRESH, Decline.REFRESH_NEEDED),
    AccountState.TOO_OLD: (ShareTooOld, AccountStatus.NEEDS_REFRESH, Decline.SHARE_TOO_OLD),
}


def bring(store, state: AccountState) -> None:
    if state is AccountState.FROZEN:
        store.accounts.set_state("a", AccountState.FROZEN)
    elif state is AccountState.DELETING:
        store.deletions.decide("a", (), 1 << 40)
    elif state is AccountState.RESTORED:
        store.accounts.mark_restored("a")
    else:
        store.accounts.max_share_age = 0


@pytest.mark.parametrize("state", CASES)
def test_it_refuses_by_itself_towards_peers_and_in_what_it_shows(tmp_path, state):
    failure, status, code = CASES[state]
    with new_store(tmp_path) as store:
        store.accounts.add(NewShare.of("a", deal(SMALL_SECP)[0]), CID, Origin.KEYGEN)
        store.accounts.put_aux(CID, NewAux.of(aux_sets(SMALL_SECP)[0]))
        records = Records(store, SUITES)
        records.account("a").check_active()
        bring(store, state)
        assert store.accounts.account("a").state is state
        with pytest.raises(failure):
            records.account("a").check_active()
        views = Views(store, records, RulePolicy(PolicySettings()))
        assert views.one("a").status is status
        declined = _NOT_ACTIVE[state]
        assert declined[0] is code
        assert type(failure_of_own(Declined(*declined))) is failure


def test_every_state_has_its_words():
    assert set(_NOT_ACTIVE) == set(CASES) == set(AccountState) - {AccountState.ACTIVE}

import pytest
from pydantic import ValidationError

from participant.policy import (
    PERMISSIVE_NOTE,
    SELF,
    AccountRule,
    Action,
    Allow,
    CeremonyRule,
    PayloadKind,
    PolicyRequest,
    PolicySettings,
    Reason,
    Refuse,
    RulePolicy,
    permissive_development_policy,
)

PEER, STRANGER = "aa" * 32, "bb" * 32
CEREMONIES = [a for a in Action if a not in (Action.SIGN, Action.READ)]
SETTINGS = PolicySettings(
    rules=[
        AccountRule(accounts=["hot"], callers=["alice"], proposers=[PEER], payloads=["ethereum_tx"]),
        AccountRule(accounts=["raw"], callers=["*"], proposers=["*"], raw_digests=True),
        AccountRule(accounts=["*"], callers=["bob"], payloads=["message", "psbt"]),
    ],
    ceremonies=[CeremonyRule(kinds=["aux", "presign"], callers=["operator"], proposers=[SELF, PEER])],
)


def sign(account_id="hot", payload=PayloadKind.ETHEREUM_TX, **fields):
    fields = {"caller": "alice"} | fields
    return PolicyRequest(Action.SIGN, account_id=account_id, payload=payload, **fields)


ALLOWED = {
    "caller of a named rule": sign(),
    "proposal of a named peer": sign(caller=None, proposer=PEER),
    "caller and proposing peer": sign(proposer=PEER),
    "raw digest where allowed": sign("raw", PayloadKind.DIGEST, caller="anybody"),
    "any proposer": sign("raw", PayloadKind.DIGEST, caller=None, proposer=STRANGER),
    "rule for all others": sign("cold", PayloadKind.MESSAGE, caller="bob"),
    "read": PolicyRequest(Action.READ, account_id="hot", caller="alice"),
    "ceremony by a caller": PolicyRequest(Action.AUX, caller="operator"),
    "ceremony by a peer": PolicyRequest(Action.PRESIGN, proposer=PEER),
    "ceremony by this node": PolicyRequest(Action.PRESIGN),
}

REFUSED = {
    "stranger asks": (sign(caller="mallory"), Reason.CALLER_NOT_ALLOWED),
    "a caller of another account": (sign(caller="bob"), Reason.CALLER_NOT_ALLOWED),
    "a named rule hides the one for all others": (
        sign("hot", PayloadKind.MESSAGE, caller="bob"),
        Reason.CALLER_NOT_ALLOWED,
    ),
    "stranger proposes": (sign(caller=None, proposer=STRANGER), Reason.PROPOSER_NOT_ALLOWED),
    "allowed caller, strange proposer": (sign(proposer=STRANGER), Reason.PROPOSER_NOT_ALLOWED),
    "strange caller, allowed proposer": (sign(caller="mallory", proposer=PEER), Reason.CALLER_NOT_ALLOWED),
    "nobody asks": (sign(caller=None), Reason.PROPOSER_NOT_ALLOWED),
    "no proposers in the rule": (
        sign("cold", PayloadKind.MESSAGE, caller=None, proposer=PEER),
        Reason.PROPOSER_NOT_ALLOWED,
    ),
    "raw digest": (sign(payload=PayloadKind.DIGEST), Reason.RAW_DIGEST_NOT_ALLOWED),
    "a kind that is not listed": (sign(payload=PayloadKind.PSBT), Reason.PAYLOAD_NOT_ALLOWED),
    "no kind": (sign(payload=None), Reason.PAYLOAD_NOT_ALLOWED),
    "raw allowed does not mean the rest": (sign("raw", PayloadKind.MESSAGE), Reason.PAYLOAD_NOT_ALLOWED),
    "read by a stranger": (
        PolicyRequest(Action.READ, account_id="hot", caller="mallory"),
        Reason.CALLER_NOT_ALLOWED,
    ),
    "no account": (PolicyRequest(Action.SIGN, caller="bob", payload=PayloadKind.MESSAGE), Reason.NO_RULE),
    "ceremony that is not listed": (
        PolicyRequest(Action.KEYGEN, caller="operator"),
        Reason.CEREMONY_NOT_ALLOWED,
    ),
    "ceremony by a stranger": (PolicyRequest(Action.AUX, caller="alice"), Reason.CALLER_NOT_ALLOWED),
    "ceremony of a strange peer": (PolicyRequest(Action.AUX, proposer=STRANGER), Reason.PROPOSER_NOT_ALLOWED),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_allowed(what):
    assert isinstance(RulePolicy(SETTINGS).decide(ALLOWED[what]), Allow)


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    request, code = REFUSED[what]
    decision = RulePolicy(SETTINGS).decide(request)
    assert isinstance(decision, Refuse)
    assert decision.code is code
    assert "this node's policy" in decision.text


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("payload", [None, *PayloadKind])
@pytest.mark.parametrize(
    ("caller", "proposer"), [("alice", SELF), (None, SELF), (None, PEER), ("alice", PEER)]
)
def test_the_default_refuses_everything(action, payload, caller, proposer):
    request = PolicyRequest(action, proposer=proposer, caller=caller, account_id="a", payload=payload)
    assert isinstance(RulePolicy(PolicySettings()).decide(request), Refuse)
    if payload is not None or action is not Action.SIGN:
        assert isinstance(RulePolicy(permissive_development_policy()).decide(request), Allow)


def test_the_permissive_policy_says_so():
    policy = RulePolicy(permissive_development_policy())
    assert PERMISSIVE_NOTE in policy.describe()
    assert "PERMISSIVE DEVELOPMENT POLICY" in PERMISSIVE_NOTE
    assert "0 account rules" in RulePolicy(PolicySettings()).describe()
    # It is written into a settings file and read again.
    assert (
        PolicySettings.model_validate(permissive_development_policy().model_dump())
        == permissive_development_policy()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"rules": [{"accounts": ["a"], "callers": ["x"], "unknown": 1}]},
        {"rules": [{"accounts": []}]},
        {"rules": [{"callers": ["x"]}]},
        {"rules": [{"accounts": ["a"], "proposers": ["node-1"]}]},
        {"rules": [{"accounts": ["a"], "proposers": ["AA" * 32]}]},
        {"rules": [{"accounts": ["a"], "payloads": ["digest"]}]},
        {"rules": [{"accounts": ["a"]}, {"accounts": ["b", "a"]}]},
        {"rules": [{"accounts": [""]}]},
        {"ceremonies": [{"kinds": ["sign"]}]},
        {"ceremonies": [{"kinds": ["aux"]}, {"kinds": ["aux"]}]},
        {"rule": []},
    ],
)
def test_settings_that_are_refused(settings):
    with pytest.raises(ValidationError):
        PolicySettings.model_validate(settings)


def test_two_rules_for_one_account_name_it():
    with pytest.raises(ValidationError, match="'a' stands in two rules"):
        PolicySettings(rules=[AccountRule(accounts=["a"]), AccountRule(accounts=["a"])])


def test_every_ceremony_can_be_ruled_on():
    for action in CEREMONIES:
        settings = PolicySettings(ceremonies=[CeremonyRule(kinds=[str(action)], callers=["*"])])
        assert isinstance(RulePolicy(settings).decide(PolicyRequest(action, caller="x")), Allow)

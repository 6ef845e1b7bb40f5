"""What is judged alike in every session: echoes, shows, control messages, acceptances, false complaints (protocol.md 0.8, 4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from judging_testing import SUITES
from session_testing import LEADING_ZERO, encode_any, identity_of
from tss_testing import TINY

from tss.echo import EchoRecord, echo_of
from tss.encoding import encode
from tss.envelope import Body, Kind, PartyId, Signed, holder, sign
from tss.errors import EchoMismatch, Equivocation, FalseAccusation, SchemaViolation
from tss.evidence import Evidence
from tss.judge import Verdict, judge
from tss.transcript import hash_commit

PH = b"\x70" * 32
PARTIES = [holder(i) for i in (1, 2, 3)]
IDENTITIES = {party: identity_of(party).public for party in PARTIES}
ACCUSED = holder(2)
ACCEPTANCE = [b"n" * 32, b"\x09" + bytes(31)]
SMALL_ORDER = bytes(32)


def preimage(kind: str = "keygen", *tail: Any, parties: Sequence[PartyId] = PARTIES) -> list[Any]:
    accepted = [
        [party.role, party.index, identity_of(party).public, b"n" * 32, b"e" * 32] for party in parties
    ]
    return [TINY.proto, "sid", kind, TINY.group.name, TINY.level.as_list(), PH, accepted, *(tail or (3, 2))]


PREIMAGE = preimage()
SID = hashlib.sha256(encode(PREIMAGE)).digest()


def body(round_: int, value: Any, *, kind: Kind = Kind.MSG, sender: PartyId = ACCUSED, sid: bytes = SID, to: int | None = None) -> Body:  # fmt: skip
    recipient = None if to is None else holder(to)
    return Body(TINY.proto, sid, round_, kind, sender, recipient, encode_any(value))


def signed(message: Body) -> Signed:
    return sign(message, identity_of(message.sender).sign)


def evidence(
    check: str, *messages: Body, accused: PartyId = ACCUSED, preimages: Sequence[Any] = (PREIMAGE,)
) -> bytes:
    return Evidence.collect(
        proto=TINY.proto, sid_preimages=preimages, accused=accused, check=check, messages=map(signed, messages)
    ).encode()  # fmt: skip


def verdict(check: str, *messages: Body, **options: Any) -> Verdict:
    return judge(evidence(check, *messages, **options), IDENTITIES, SUITES)


def assert_guilty(found: Verdict, error: type[Exception], check: str, section: str = "0.8") -> None:
    assert (found.guilty, found.cleared, found.accused) == (True, False, ACCUSED), found
    assert (found.check, found.section, type(found.fault)) == (check, section, error), found


def assert_cleared(found: Verdict) -> None:
    assert (found.guilty, found.cleared, found.section, found.fault) == (False, True, "", None), found


def assert_unproven(found: Verdict, said: str) -> None:
    assert (found.guilty, found.cleared, found.section, found.fault) == (False, False, "", None), found
    assert said in found.reason, found


# -- acceptances -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [[b"n" * 31, ACCEPTANCE[1]], [b"n" * 32, SMALL_ORDER], [None, [b"e" * 31, None]], 5]
)
@pytest.mark.parametrize("preimages", [(), (PREIMAGE,)], ids=["no sid yet", "a sid"])
def test_an_acceptance_that_is_none(value: Any, preimages: Any) -> None:
    found = verdict("keygen.r0.schema", body(0, value, sid=PH), preimages=preimages)
    assert_guilty(found, SchemaViolation, "keygen.r0.schema")


def test_an_acceptance_that_is_one_clears_its_sender() -> None:
    assert_cleared(verdict("keygen.r0.schema", body(0, ACCEPTANCE, sid=PH)))


@pytest.mark.parametrize("value", [[None, [b"e" * 32, None]], [None, [b"e" * 32, [b"r" * 32, 5]]]])
def test_what_signing_from_stock_says_in_its_round_0_is_no_bad_acceptance(value: Any) -> None:
    """Who could pass one for the other would frame whoever signs from stock."""
    found = verdict("keygen.r0.schema", body(0, value, sid=PH), preimages=())
    assert_unproven(found, "may belong to signing from stock")


def test_no_acceptance() -> None:
    assert_unproven(verdict("keygen.r0.schema"), "acceptance is missing")
    others = body(1, [None, b"V" * 32]), body(0, record(0, PH).as_value(), kind=Kind.ECHO, sid=PH)
    assert_unproven(verdict("keygen.r0.schema", *others), "acceptance is missing")


# -- control messages --------------------------------------------------------------------------------------------

WRONG = {
    Kind.ABORT: [None, ["Timeout"], ["T" * 65, "x"]],
    Kind.COMPLAINT: [None, [["holder", 3], "check"], [["holder", LEADING_ZERO], "check", b""]],
    Kind.SHOW: [None, [], [[b"no body", bytes(64)]]],
}


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in WRONG.items() for value in values]
)
@pytest.mark.parametrize("scope", ["ph", "sid"])
def test_an_abort_complaint_or_show_that_is_none(kind: Kind, value: Any, scope: str) -> None:
    options: dict[str, Any] = {"preimages": ()} if scope == "ph" else {}
    message = body(0, value, kind=kind, sid=PH if scope == "ph" else SID)
    found = verdict(f"keygen.{kind}.schema", message, **options)
    assert_guilty(found, SchemaViolation, f"keygen.{kind}.schema")


def test_an_abort_and_a_complaint_that_are_such() -> None:
    assert_cleared(verdict("keygen.abort.schema", body(0, ["Timeout", "x"], kind=Kind.ABORT)))
    value = [["holder", 3], "check", b""]
    assert_cleared(verdict("keygen.complaint.schema", body(0, value, kind=Kind.COMPLAINT)))
    assert_unproven(verdict("keygen.abort.schema"), "abort is missing")


def show(round_: int, *shown: Body, sid: bytes = SID) -> Body:
    return body(round_, [signed(message).as_value() for message in shown], kind=Kind.SHOW, sid=sid)


def test_a_show_of_what_a_member_signed() -> None:
    said = body(1, [None, b"V" * 32], sender=holder(3))
    assert_cleared(verdict("keygen.show.schema", show(1, said)))
    for other in (replace(said, round=2), replace(said, sender=holder(9)), replace(said, kind=Kind.ECHO)):
        assert_guilty(verdict("keygen.show.schema", show(1, other)), SchemaViolation, "keygen.show.schema")


def test_a_show_under_the_proposal_needs_the_parties_of_its_session() -> None:
    """A member of the committee that takes no part may not be shown; without a session's id nobody knows who does."""
    said = body(0, ACCEPTANCE, sender=holder(3), sid=PH)
    shown = show(0, said, sid=PH)
    assert_unproven(verdict("keygen.show.schema", shown), "who the session's parties were")
    assert_unproven(verdict("keygen.show.schema", shown, preimages=()), "who the session's parties were")
    assert_cleared(verdict("keygen.show.schema", shown, body(1, [None, b"V" * 32])))
    two = preimage("keygen", 2, 2, parties=PARTIES[:2])
    sid = hashlib.sha256(encode(two)).digest()
    found = verdict("keygen.show.schema", shown, body(1, [None, b"V" * 32], sid=sid), preimages=[two])
    assert_guilty(found, SchemaViolation, "keygen.show.schema")


# -- echoes ------------------------------------------------------------------------------------------------------


def heard(round_: int, sid: bytes, *parties: PartyId) -> dict[PartyId, Body]:
    value = ACCEPTANCE if round_ == 0 else [None, b"V" * 32]
    return {party: body(round_, value, sender=party, sid=sid) for party in parties or PARTIES}


def record(round_: int, sid: bytes, *parties: PartyId) -> EchoRecord:
    bodies = {party: message.encode() for party, message in heard(round_, sid, *parties).items()}
    return echo_of(TINY.proto, sid, round_, bodies)


def echo(round_: int, value: Any, sid: bytes = SID) -> Body:
    return body(round_, value, kind=Kind.ECHO, sid=sid)


def test_an_echo_that_is_right() -> None:
    assert_cleared(verdict("keygen.r1.echo", echo(1, record(1, SID).as_value())))
    shown = show(1, *heard(1, SID).values())
    assert_cleared(verdict("keygen.r1.echo", echo(1, record(1, SID).as_value()), shown))
    elsewhere = show(1, body(1, [None, b"X" * 32], sender=holder(3), sid=PH), sid=PH)
    assert_cleared(verdict("keygen.r1.echo", echo(1, record(1, SID).as_value()), elsewhere))


@pytest.mark.parametrize("sid", [SID, PH], ids=["sid", "ph"])
def test_an_echo_that_is_none(sid: bytes) -> None:
    round_ = 1 if sid == SID else 0
    right = record(round_, sid).as_value()
    for wrong in (None, [b"E" * 32, right[1]], [right[0], right[1][:2]], [right[0], []]):
        found = verdict(f"keygen.r{round_}.echo", echo(round_, wrong, sid))
        assert_guilty(found, SchemaViolation, f"keygen.r{round_}.echo")


def test_an_echo_that_leaves_its_own_sender_out_or_repeats_somebody() -> None:
    without = record(0, PH, holder(1), holder(3))
    found = verdict("keygen.r0.echo", echo(0, without.as_value(), PH), preimages=())
    assert_guilty(found, SchemaViolation, "keygen.r0.echo")
    twice = record(0, PH)
    twice = EchoRecord(twice.digest, (*twice.hashes, twice.hashes[-1]))
    assert verdict("keygen.r0.echo", echo(0, twice.as_value(), PH), preimages=()).guilty


def test_an_echo_that_is_the_hash_of_a_list_that_cannot_be() -> None:
    """Nobody honest sorts otherwise, or lists a party twice: no session has to tell."""
    first, second, third = record(0, PH).hashes
    for listed in ((first, third, second), (first, second, second), (first, second, third, third)):
        value = [[party.as_list(), item] for party, item in listed]
        said = echo(0, [hash_commit(TINY.proto, "echo", PH, 0, value), value], PH)
        found = verdict("keygen.r0.echo", said, preimages=())
        assert_guilty(found, SchemaViolation, "keygen.r0.echo")


def test_whom_an_echo_of_round_0_covers_only_a_session_tells() -> None:
    """An accuser could make up a preimage over the same proposal; the accused has to have signed under it."""
    two = echo(0, record(0, PH, holder(1), holder(2)).as_value(), PH)
    assert_unproven(verdict("keygen.r0.echo", two, preimages=()), "who the session's parties were")
    assert_unproven(verdict("keygen.r0.echo", two), "who the session's parties were")
    of_another = verdict("keygen.r0.echo", two, body(1, [None, b"V" * 32], sender=holder(3)))
    assert_unproven(of_another, "who the session's parties were")
    found = verdict("keygen.r0.echo", two, body(1, [None, b"V" * 32]))
    assert_guilty(found, SchemaViolation, "keygen.r0.echo")


@pytest.mark.parametrize("preimages", [(), (PREIMAGE,)], ids=["no sid yet", "a sid"])
def test_an_echo_that_contradicts_what_its_sender_shows(preimages: Any) -> None:
    other = body(0, [b"x" * 32, ACCEPTANCE[1]], sender=holder(3), sid=PH)
    mine = echo(0, record(0, PH).as_value(), PH)
    found = verdict("keygen.r0.echo", mine, show(0, other, sid=PH), preimages=preimages)
    assert_guilty(found, EchoMismatch, "keygen.r0.echo")
    assert found.reason == "its echo contradicts the messages that it shows"


def test_an_echo_that_travels() -> None:
    right = record(2, SID).as_value()
    psi = [TINY.group.G, 1]
    assert_cleared(verdict("keygen.r2.echo", body(3, [right, psi])))
    assert_guilty(
        verdict("keygen.r2.echo", body(3, [[b"E" * 32, right[1]], psi])), SchemaViolation, "keygen.r2.echo"
    )
    assert_unproven(verdict("keygen.r1.echo", body(3, [right, psi])), "signed echo of round 1 is missing")
    assert_unproven(verdict("keygen.r2.echo", body(3, [None, psi])), "signed echo of round 2 is missing")
    assert_unproven(
        verdict("keygen.r2.echo", body(1, [None, b"V" * 32])), "signed echo of round 2 is missing"
    )


# -- messages of a round -----------------------------------------------------------------------------------------


def test_a_round_is_complete_when_all_of_it_is_here() -> None:
    reveal = [b"r" * 32, [TINY.group.G] * 2, TINY.group.G, b"c" * 32, b"u" * 32]
    said, told = body(2, [None, reveal]), body(2, [1, b"c" * 32, b"w" * 32], to=1)
    assert_cleared(verdict("keygen.r2.schema", said, told))
    assert_unproven(verdict("keygen.r2.schema", said), "to its accuser is missing")
    assert_unproven(verdict("keygen.r2.schema", told), "own msg of round 2 is missing")
    assert_unproven(verdict("keygen.r2.schema", said, replace(told, to=holder(9))), "nobody is told anything")
    assert_cleared(verdict("keygen.r2.schema", said, told, body(1, b"of another round", to=1)))
    assert_unproven(verdict("keygen.r1.schema", body(1, b"", to=1)), "nobody is told anything")
    assert_unproven(verdict("keygen.r1.schema", body(1, [1], kind=Kind.DONE)), "has no done of round 1")
    assert_unproven(verdict("keygen.r7.schema"), "keygen has no round 7")
    assert_cleared(verdict("keygen.r1.schema", body(1, [None, b"V" * 32]), told))
    done = body(15, [None, b"d" * 32], kind=Kind.DONE)
    assert_cleared(verdict("keygen.r15.schema", done))
    wrong = body(15, [None, b"d" * 31], kind=Kind.DONE)
    assert_guilty(verdict("keygen.r15.schema", wrong), SchemaViolation, "keygen.r15.schema")


def test_what_else_was_said_is_no_message_of_the_round() -> None:
    said, told = body(1, [None, b"V" * 32]), body(2, b"junk", sender=holder(3), to=1)
    others = echo(1, record(1, SID).as_value()), show(1), body(15, [None, b"d" * 31], kind=Kind.DONE), told
    assert_cleared(verdict("keygen.r1.schema", said, *others))
    reveal = [b"r" * 32, [TINY.group.G] * 2, TINY.group.G, b"c" * 32, b"u" * 32]
    own = body(2, [None, reveal]), body(2, [1, b"c" * 32, b"w" * 32], to=1)
    assert_cleared(verdict("keygen.r2.schema", *own, told))
    assert_unproven(verdict("keygen.r2.schema", own[0], told), "to its accuser is missing")


def test_an_echo_where_none_is_due_and_none_where_one_is() -> None:
    right = record(1, SID).as_value()
    for message, check in (
        (body(1, [right, b"V" * 32]), "keygen.r1.schema"),
        (body(3, [None, [TINY.group.G, 1]]), "keygen.r3.schema"),
    ):
        assert_guilty(verdict(check, message), SchemaViolation, check)


# -- claims that cannot be judged --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "said"),
    [("keygen.r2.share", "is missing"), *((check, "no check of this name") for check in (
        "keygen.r9.x", "", "keygen", "keygen.x.echo", "keygen.x.schema", "keygen.r0.x", "keygen.abort.x",
        "\x1b[31m.r99.\n",
    ))],
)  # fmt: skip
def test_a_check_that_is_none(check: str, said: str) -> None:
    found = verdict(check, body(1, [None, b"V" * 32]), body(0, 5, sid=PH))
    assert_unproven(found, said)
    assert found.check == check.replace("\x1b", "?").replace("\n", "?")


def test_a_fault_is_named_after_the_session_that_it_happened_in() -> None:
    """Not after what its accuser calls it, which nobody may have to read."""
    wrong = verdict("aux.r1.echo", echo(1, None))
    assert_guilty(wrong, SchemaViolation, "keygen.r1.echo")
    versions = [body(1, [None, V]) for V in (b"V" * 32, b"W" * 32)]
    for name, check in (("aux", "aux.r1.msg"), ("\x1b[31m", "session.r1.msg"), ("", "session.r1.msg")):
        found = verdict(f"{name}.r1.msg", *versions)
        assert_guilty(found, Equivocation, check)
        assert found.reason == "two different signed messages in one slot"


def test_messages_that_are_none() -> None:
    message = signed(body(1, [None, b"V" * 32]))
    foreign = signed(replace(body(1, [None, b"V" * 32]), proto="other/v1"))
    for encoded, signature, said in (
        (b"no body", bytes(64), "cannot be read"),
        (message.encoded, bytes(64), "no member of this committee signed"),
        (foreign.encoded, foreign.signature, "of another suite"),
    ):
        written = encode(
            ["evidence/v1", TINY.proto, [encode(PREIMAGE)], ACCUSED.as_list(), "keygen.r1.schema", [[encoded, signature]] * 2]
        )  # fmt: skip
        assert_unproven(judge(written, IDENTITIES, SUITES), said)


def test_of_messages_that_are_none_the_first_is_named() -> None:
    message = signed(body(1, [None, b"V" * 32]))
    foreign = signed(replace(body(1, [None, b"V" * 32]), proto="other/v1"))
    wrong = {
        "cannot be read": [b"no body", bytes(64)],
        "no member of this committee signed": [message.encoded, bytes(64)],
        "of another suite": [foreign.encoded, foreign.signature],
    }
    for order in permutations(wrong):
        shown = [wrong[what] for what in order]
        written = encode(
            ["evidence/v1", TINY.proto, [encode(PREIMAGE)], ACCUSED.as_list(), "keygen.r1.schema", shown]
        )
        found = judge(written, IDENTITIES, SUITES)
        assert_unproven(found, order[0])
        assert found.reason.endswith(order[0])


def test_two_versions_are_two_whatever_stands_before_them() -> None:
    versions = [signed(body(1, [None, V])) for V in (b"V" * 32, b"W" * 32)]
    shown = [[b"no body", bytes(64)], *(one.as_value() for one in versions)]
    written = encode(["evidence/v1", TINY.proto, [], ACCUSED.as_list(), "keygen.r1.msg", shown])
    assert_guilty(judge(written, IDENTITIES, SUITES), Equivocation, "keygen.r1.msg")


def test_a_message_whose_echo_is_wrong_is_no_message_of_its_round() -> None:
    right = record(2, SID).as_value()
    said = body(3, [[b"E" * 32, right[1]], [TINY.group.G, 1]])
    assert_guilty(verdict("keygen.r3.schema", said), SchemaViolation, "keygen.r2.echo")
    assert_cleared(verdict("keygen.r3.schema", body(3, [right, [TINY.group.G, 1]])))


def test_without_a_sid_a_protocols_check_cannot_be_made() -> None:
    found = verdict("keygen.r2.share", body(1, [None, b"V" * 32]), preimages=())
    assert_unproven(found, "the session's id is missing")


def test_messages_of_two_proposals_prove_nothing_together() -> None:
    found = verdict("keygen.r0.schema", body(0, 5, sid=PH), body(0, 5, sid=b"\x71" * 32), preimages=())
    assert_unproven(found, "messages of another session")


@pytest.mark.parametrize("tail", [(4, 2), (3, 4), (3, 1)])
def test_a_key_generation_that_nobody_honest_runs(tail: tuple[int, int]) -> None:
    made = preimage("keygen", *tail)
    sid = hashlib.sha256(encode(made)).digest()
    found = verdict("keygen.r1.schema", body(1, [None, b"V" * 32], sid=sid), preimages=[made])
    assert_unproven(found, "a key generation of")


# -- false complaints --------------------------------------------------------------------------------------------


def complaint(by: int, accused: int, check: str, inner: bytes, *, sid: bytes = SID) -> Body:
    value = [holder(accused).as_list(), check, inner]
    return body(0, value, kind=Kind.COMPLAINT, sender=holder(by), sid=sid)


FALSE = "keygen.complaint.false"
GOOD = body(1, [None, b"V" * 32], sender=holder(3))
BAD = body(1, [None, b"V" * 31], sender=holder(3))


def about(message: Body, check: str = "keygen.r1.schema") -> bytes:
    return evidence(check, message, accused=holder(3))


def test_a_false_complaint() -> None:
    made = complaint(2, 3, "keygen.r1.schema", about(GOOD))
    assert_guilty(verdict(FALSE, made), FalseAccusation, FALSE, "4.1")


def test_what_a_liar_says_beside_its_complaint_does_not_help_it() -> None:
    made = complaint(2, 3, "keygen.r1.schema", about(GOOD))
    others = body(0, ["Timeout", "x"], kind=Kind.ABORT), body(1, [None, b"V" * 32])
    assert_guilty(verdict(FALSE, made, *others), FalseAccusation, FALSE, "4.1")


def test_a_proposal_says_nothing_about_a_session_that_has_its_own_list() -> None:
    """Signing from stock alone is read from it; a colluder's that cannot be read takes no guilt away."""
    junk = body(0, b"no proposal", kind=Kind.PROPOSE, sender=holder(1), sid=PH)
    found = verdict("keygen.r1.schema", body(1, [None, b"V" * 31]), junk)
    assert_guilty(found, SchemaViolation, "keygen.r1.schema")


def test_a_true_complaint_clears_whoever_makes_it() -> None:
    assert_cleared(verdict(FALSE, complaint(2, 3, "keygen.r1.schema", about(BAD))))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (complaint(2, 3, "keygen.r1.schema", b""), "no evidence that can be read"),
        (complaint(2, 1, "keygen.r1.schema", about(GOOD)), "about something else"),
        (complaint(2, 3, "keygen.r2.share", about(GOOD)), "about something else"),
        (complaint(2, 3, "keygen.r2.share", about(GOOD, "keygen.r2.share")), "not complete"),
        (
            complaint(2, 3, "keygen.r1.schema", evidence("keygen.r1.schema", GOOD, accused=holder(3), preimages=())),
            "another session",
        ),
        (body(0, None, kind=Kind.COMPLAINT), "no evidence that can be read"),
        (GOOD, "complaint is missing"),
    ],
    ids=["nothing", "another accused", "another check", "not complete", "another session", "unreadable", "none"],
)  # fmt: skip
def test_a_complaint_that_is_not_proven_false(made: Body, said: str) -> None:
    assert_unproven(verdict(FALSE, made), said)


def test_complaints_about_complaints_end() -> None:
    """1 says 3 is wrong, 2 says 1 lies, and so on: each is true or false by what is inside, three deep."""
    made, accused, check = complaint(1, 3, "keygen.r1.schema", about(GOOD)), 1, "keygen.r1.schema"
    results = []
    for by, accused_ in ((2, 1), (1, 2), (2, 1), (1, 2)):
        inner = evidence(FALSE, made, accused=holder(accused_))
        results.append(judge(inner, IDENTITIES, SUITES))
        made = complaint(by, accused_, FALSE, inner)
    del accused, check
    assert [(r.guilty, r.cleared) for r in results] == [
        (True, False),
        (False, True),
        (True, False),
        (False, False),
    ]
    assert "too many of them" in results[-1].reason


def test_several_complaints_of_one_party() -> None:
    """A second one proves it as well: complaints are not slots."""
    true = complaint(2, 3, "keygen.r1.schema", about(BAD))
    false = complaint(2, 3, "keygen.r1.schema", about(GOOD))
    assert_guilty(verdict(FALSE, true, false), FalseAccusation, FALSE, "4.1")

"""Echoes (protocol.md 0.8): the hash over a round's broadcasts, and whom a difference proves guilty."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from session_testing import Anything, identity_of
from tss_testing import TINY

import tss.echo
from tss.echo import (
    ECHO_SCHEMA,
    EchoRecord,
    contradicts_shown,
    echo_from_value,
    echo_of,
    peek_echo,
    show_payloads,
    show_value,
    two_versions,
)
from tss.echo_rounds import EchoRounds
from tss.encoding import decode, encode
from tss.envelope import (
    MAX_BROADCAST_BYTES,
    MAX_ENVELOPE_BYTES,
    Body,
    Kind,
    PartyId,
    Signed,
    decode_body,
    holder,
    pack,
    sign,
)
from tss.errors import EchoMismatch, SchemaViolation
from tss.mailbox import Mailbox
from tss.params import MAX_SIGNERS

PROTO = "suite/v1"
PH, SID = b"\x01" * 32, b"\x02" * 32
ME, A, B, C = holder(1), holder(2), holder(3), holder(10)
PARTIES = (ME, A, B, C)


def message(
    sender: PartyId,
    payload: bytes = b"payload",
    *,
    sid: bytes = SID,
    round_: int = 1,
    kind: Kind = Kind.MSG,
    to: PartyId | None = None,
) -> Signed:
    body = Body(PROTO, sid, round_, kind, sender, to, payload)
    return sign(body, identity_of(sender).sign)


MESSAGES = {party: message(party) for party in PARTIES}
BODIES = {party: signed.encoded for party, signed in MESSAGES.items()}
ECHO = echo_of(PROTO, SID, 1, BODIES)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# -- the record --------------------------------------------------------------------------------------------------


def test_the_echo_of_the_specification():
    """E = Hc("echo", sid, round, [[j, SHA-256(ENC body of j)] sorted]), Hc = SHA-256(ENC([PROTO, tag, ...]))."""
    listed = [[["holder", index], sha(BODIES[holder(index)])] for index in (1, 2, 3, 10)]
    assert ECHO.digest == sha(encode([PROTO, "echo", SID, 1, listed]))
    assert ECHO.as_value() == [ECHO.digest, listed]
    assert ECHO.parties == PARTIES


def test_the_order_in_which_messages_came_does_not_matter():
    assert echo_of(PROTO, SID, 1, dict(reversed(BODIES.items()))) == ECHO


def test_roles_sort_before_numbers():
    dealer, new = PartyId("dealer", 2), PartyId("new", 1)
    assert echo_of(PROTO, SID, 1, {new: b"n", dealer: b"d"}).parties == (dealer, new)


@pytest.mark.parametrize(
    "other",
    [
        echo_of("suite/v2", SID, 1, BODIES),
        echo_of(PROTO, PH, 1, BODIES),
        echo_of(PROTO, SID, 2, BODIES),
        echo_of(PROTO, SID, 1, BODIES | {B: message(B, b"other").encoded}),
        echo_of(PROTO, SID, 1, {party: BODIES[party] for party in (ME, A, B)}),
    ],
    ids=["proto", "sid", "round", "message", "parties"],
)
def test_an_echo_binds_all_that_it_is_about(other):
    assert other.digest != ECHO.digest


def value_of(record: EchoRecord) -> list[object]:
    """A record's value after its way over the wire."""
    return list(decode(encode(record.as_value()), ECHO_SCHEMA))


def test_an_echo_reads_back():
    assert echo_from_value(PROTO, SID, 1, value_of(ECHO), PARTIES) == ECHO


def test_an_echo_is_of_one_party_at_least_and_of_all_in_two_roles_at_most():
    for count in (1, 2 * MAX_SIGNERS):
        record = echo_of(PROTO, SID, 1, {holder(index): b"" for index in range(1, count + 1)})
        assert value_of(record) == record.as_value()
    for count in (0, 2 * MAX_SIGNERS + 1):
        record = echo_of(PROTO, SID, 1, {holder(index): b"" for index in range(1, count + 1)})
        with pytest.raises(SchemaViolation):
            value_of(record)


@pytest.mark.parametrize(
    "parties", [PARTIES[:3], (*PARTIES, holder(11)), (ME, A, B, PartyId("new", 10))], ids=len
)
def test_an_echo_covers_exactly_the_parties_of_its_round(parties):
    with pytest.raises(SchemaViolation, match="exactly the parties"):
        echo_from_value(PROTO, SID, 1, value_of(ECHO), parties)


def relisted(*places: int) -> list[object]:
    """ECHO with the items of its list at these places, under the digest that fits."""
    listed = [ECHO.as_value()[1][place] for place in places]
    return [sha(encode([PROTO, "echo", SID, 1, listed])), listed]


@pytest.mark.parametrize(
    "places", [(1, 0, 2, 3), (0, 1, 2, 2), (0, 1, 2, 3, 3)], ids=["order", "twice", "more"]
)
def test_an_echos_list_is_sorted_and_names_each_party_once(places):
    with pytest.raises(SchemaViolation, match="exactly the parties"):
        echo_from_value(PROTO, SID, 1, relisted(*places), PARTIES)
    assert echo_from_value(PROTO, SID, 1, relisted(0, 1, 2, 3), PARTIES) == ECHO


@pytest.mark.parametrize(
    ("proto", "sid", "round_"),
    [("suite/v2", SID, 1), (PROTO, PH, 1), (PROTO, SID, 2)],
    ids=["proto", "sid", "round"],
)
def test_an_echos_digest_is_the_hash_of_its_own_list(proto, sid, round_):
    with pytest.raises(SchemaViolation, match="not the hash of its list"):
        echo_from_value(proto, sid, round_, value_of(ECHO), PARTIES)
    digest, listed = value_of(ECHO)
    for other in (bytes(32), bytes([digest[0] ^ 1]) + digest[1:]):
        with pytest.raises(SchemaViolation, match="not the hash of its list"):
            echo_from_value(PROTO, SID, 1, [other, listed], PARTIES)


@pytest.mark.parametrize("rest", [None, 5, [1, "x"], b"x" * 1000], ids=repr)
def test_the_echo_that_a_broadcast_begins_with(rest):
    assert peek_echo(encode([ECHO.as_value(), rest])) == value_of(ECHO)
    assert peek_echo(encode([None, rest])) is None
    assert peek_echo(encode([ECHO.digest, rest])) is None
    assert peek_echo(encode([[ECHO.digest[:31], ECHO.as_value()[1]], rest])) is None


@pytest.mark.parametrize(
    "payload", [b"", b"\x06", encode([]), encode(None), encode([ECHO.as_value()])[:-1]], ids=repr
)
def test_what_begins_with_no_echo(payload):
    assert peek_echo(payload) is None


# -- shows -------------------------------------------------------------------------------------------------------


def sizes(payloads: list[bytes]) -> list[list[int]]:
    """The sizes of the payloads of all messages, show by show."""
    shows = [decode(payload, Anything(TINY.group)) for payload in payloads]
    return [[len(decode_body(encoded).payload) for encoded, _ in show] for show in shows]


def test_a_round_is_one_show_when_it_fits():
    shown = [message(party, bytes(size)) for party, size in zip(PARTIES, (30, 10, 20, 5), strict=True)]
    assert sizes(show_payloads(shown)) == [[30, 10, 20, 5]]
    assert show_payloads(shown) == [show_value(shown)]


def test_a_round_is_one_show_up_to_the_last_byte(monkeypatch):
    shown = [message(party, bytes(size)) for party, size in zip(PARTIES, (30, 10, 20, 5), strict=True)]
    monkeypatch.setattr(tss.echo, "MAX_SHOW_BYTES", len(show_value(shown)))
    assert sizes(show_payloads(shown)) == [[30, 10, 20, 5]]
    monkeypatch.setattr(tss.echo, "MAX_SHOW_BYTES", len(show_value(shown)) - 1)
    assert sizes(show_payloads(shown)) == [[5, 10, 20], [30]]


def test_else_it_is_several_the_smallest_messages_first(monkeypatch):
    shown = [
        message(party, bytes(size)) for party, size in zip(PARTIES, (1200, 1000, 1300, 500), strict=True)
    ]
    monkeypatch.setattr(tss.echo, "MAX_SHOW_BYTES", len(show_value([shown[1], shown[3]])))
    assert sizes(show_payloads(shown)) == [[500, 1000], [1200], [1300]]
    monkeypatch.setattr(tss.echo, "MAX_SHOWS", 2)
    assert sizes(show_payloads(shown)) == [[500, 1000], [1200]]


def test_every_show_is_filled(monkeypatch):
    shown = [message(party, bytes(500)) for party in PARTIES]
    monkeypatch.setattr(tss.echo, "MAX_SHOW_BYTES", len(show_value(shown[:2])))
    assert sizes(show_payloads(shown)) == [[500, 500], [500, 500]]


def test_as_many_shows_as_a_peer_keeps(monkeypatch):
    shown = [message(holder(index), bytes(500)) for index in range(1, 7)]
    monkeypatch.setattr(tss.echo, "MAX_SHOW_BYTES", len(show_value(shown[:1])))
    assert len(show_payloads(shown)) == 4


def test_the_largest_show_fits_into_an_envelope():
    body = Body(
        "p" * 64,
        SID,
        15,
        Kind.COMPLAINT,
        PartyId("r" * 16, (1 << 32) - 1),
        None,
        bytes(tss.echo.MAX_SHOW_BYTES),
    )
    assert MAX_ENVELOPE_BYTES - 1024 < len(pack(sign(body, identity_of(A).sign))) <= MAX_ENVELOPE_BYTES


def test_any_message_that_a_peer_takes_can_be_shown():
    body = Body("p" * 64, SID, 15, Kind.MSG, PartyId("r" * 16, 1), None, b"")
    body = replace(body, payload=bytes(MAX_BROADCAST_BYTES - len(body.encode())))
    signed = sign(body, identity_of(A).sign)
    assert len(signed.encoded) == MAX_BROADCAST_BYTES
    (payload,) = show_payloads([signed])
    show = replace(body, kind=Kind.COMPLAINT, payload=payload)
    assert len(pack(sign(show, identity_of(A).sign))) <= MAX_ENVELOPE_BYTES


# -- what two messages and a show prove --------------------------------------------------------------------------


def test_two_versions_among_what_was_found():
    first, second = message(A), message(A, b"second")
    assert two_versions({}, [message(B), first, message(ME), second]) == (first, second)


def test_two_versions_behind_messages_that_may_be_repeated():
    abort, first, second = message(B, kind=Kind.ABORT), message(A), message(A, b"second")
    assert two_versions({}, [abort, first, abort, second]) == (first, second)


def test_two_versions_between_what_is_known_and_what_was_found():
    known, found = message(A), message(A, b"second")
    assert two_versions({known.body.slot: known}, [message(B), found]) == (known, found)


def test_copies_are_one_version():
    known = message(A)
    copy = Signed(known.body, known.encoded, bytes(64))
    assert two_versions({known.body.slot: known}, [known, copy]) is None
    assert two_versions({}, [known, copy, message(B)]) is None


@pytest.mark.parametrize(
    "other",
    [message(B, b"x"), message(A, b"x", round_=2), message(A, b"x", sid=PH), message(A, b"x", kind=Kind.ECHO),
     message(A, b"x", to=ME)],
    ids=["sender", "round", "sid", "kind", "to"],
)  # fmt: skip
def test_messages_of_different_slots_are_no_versions(other):
    assert two_versions({MESSAGES[A].body.slot: MESSAGES[A]}, [other]) is None
    assert two_versions({}, [MESSAGES[A], other]) is None


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_which_kinds_are_said_once(kind):
    first, second = message(A, kind=kind), message(A, b"second", kind=kind)
    said_once = kind in (Kind.MSG, Kind.ECHO, Kind.DONE)
    assert two_versions({}, [first, second]) == ((first, second) if said_once else None)


def test_a_show_of_another_message_contradicts_an_echo():
    shown = list(MESSAGES.values())
    assert not contradicts_shown(ECHO, shown)
    assert not contradicts_shown(ECHO, [*reversed(shown), shown[0]])
    assert not contradicts_shown(ECHO, shown[1:]), "the rest may come in another show"
    assert not contradicts_shown(ECHO, [])
    assert contradicts_shown(ECHO, [*shown, message(holder(11))])
    assert contradicts_shown(ECHO, [*shown[:3], message(C, b"other")])
    assert contradicts_shown(ECHO, [message(C, b"other")])


def test_who_said_what_is_part_of_an_echo():
    """The same hashes under exchanged names are another echo."""
    (me, first), (a, second), *rest = ECHO.hashes
    exchanged = EchoRecord(ECHO.digest, ((me, second), (a, first), *rest))
    assert contradicts_shown(exchanged, MESSAGES.values())


def test_a_show_is_all_signed_broadcasts():
    shown = list(MESSAGES.values())
    assert decode(show_value(shown), Anything(TINY.group)) == [[s.encoded, s.signature] for s in shown]


# -- one session's echo rounds -----------------------------------------------------------------------------------


def echo_rounds(*known: Signed) -> tuple[EchoRounds, Mailbox]:
    identities = {party: identity_of(party).public for party in PARTIES}
    mail = Mailbox(PROTO, ME, identities, PH)
    mail.sid = SID
    for signed in known:
        mail.slots[signed.body.slot] = signed
    return EchoRounds(PROTO, "test", ME, (A, B, C), mail), mail


def echo_message(sender: PartyId, record: EchoRecord = ECHO) -> Signed:
    return message(sender, encode(record.as_value()), kind=Kind.ECHO)


OTHER_B = message(B, b"other")
OTHER = echo_of(PROTO, SID, 1, BODIES | {B: OTHER_B.encoded})


def test_the_own_echo_is_of_the_broadcasts_at_hand_and_does_not_change():
    rounds, mail = echo_rounds(*MESSAGES.values())
    assert rounds.own((SID, 1), PARTIES) == ECHO
    mail.slots[OTHER_B.body.slot] = OTHER_B
    assert rounds.own((SID, 1), PARTIES) == ECHO


def test_an_echo_was_sent_when_its_own_envelope_was():
    rounds, mail = echo_rounds(echo_message(A))
    assert not rounds.sent((SID, 1))
    mail.slots[echo_message(ME).body.slot] = echo_message(ME)
    assert rounds.sent((SID, 1))
    assert not rounds.sent((SID, 2))


def test_echoes_are_compared_when_all_are_in():
    rounds, mail = echo_rounds(*MESSAGES.values(), echo_message(A), echo_message(B))
    rounds.own((SID, 1), PARTIES)
    assert rounds.envelopes_equal((SID, 1)) is None
    assert rounds.showing is None
    mail.keep(echo_message(C))
    assert rounds.envelopes_equal((SID, 1)) is True
    assert rounds.showing is None
    assert rounds.lacking() == ()


@pytest.mark.parametrize("missing", [None, A, B, C], ids=str)
@pytest.mark.parametrize("different", [A, B, C], ids=str)
def test_one_different_echo_is_enough(different, missing):
    """Also while others are missing: who told different things must not get away by silence."""
    if different == missing:
        return
    echoes = [
        echo_message(party, OTHER if party == different else ECHO) for party in (A, B, C) if party != missing
    ]
    rounds, _ = echo_rounds(*MESSAGES.values(), *echoes)
    rounds.own((SID, 1), PARTIES)
    assert rounds.envelopes_equal((SID, 1)) is False
    assert rounds.showing == (SID, 1)
    assert rounds.lacking() == (different,)


def test_travelling_echoes_are_compared_as_they_come():
    rounds, _ = echo_rounds(*MESSAGES.values())
    rounds.own((SID, 1), PARTIES)
    equal, other = encode([ECHO.as_value(), 1]), encode([OTHER.as_value(), "any"])
    foreign = encode([echo_of(PROTO, SID, 2, BODIES).as_value(), 1])
    unread = [
        message(A, b"", round_=2),
        message(B, foreign, round_=2),
        message(C, encode([None, 1]), round_=2),
    ]
    assert rounds.travelling_differ((SID, 1), []) is False
    assert rounds.travelling_differ((SID, 1), [message(A, equal, round_=2), *unread]) is False
    assert rounds.showing is None
    assert rounds.travelling_differ((SID, 1), [*unread[:2], message(C, other, round_=2)]) is True
    assert rounds.showing == (SID, 1)
    assert rounds.lacking() == (C,)


def test_equal_echoes_stay_equal():
    rounds, mail = echo_rounds(*MESSAGES.values(), *(echo_message(party) for party in (A, B, C)))
    rounds.own((SID, 1), PARTIES)
    assert rounds.envelopes_equal((SID, 1)) is True
    mail.slots.clear()
    assert rounds.envelopes_equal((SID, 1)) is True


@pytest.mark.parametrize(
    "payload",
    [b"", encode([ECHO.digest]), encode([ECHO.digest[:31], ECHO.as_value()[1]]), encode([ECHO.digest, []]),
     encode([bytes(32), ECHO.as_value()[1]]), encode(echo_of(PROTO, SID, 1, {ME: b"x"}).as_value())],
    ids=["nothing", "no list", "short", "empty", "digest", "parties"],
)  # fmt: skip
def test_who_sends_no_echo_is_named(payload):
    broken = message(B, payload, kind=Kind.ECHO)
    rounds, _ = echo_rounds(*MESSAGES.values(), echo_message(A), broken, echo_message(C))
    rounds.own((SID, 1), PARTIES)
    with pytest.raises(SchemaViolation) as fault:
        rounds.envelopes_equal((SID, 1))
    assert (fault.value.peer, fault.value.check) == (3, "test.r1.echo")


def test_a_round_is_shown_once_and_only_after_its_echo():
    rounds, _ = echo_rounds(*MESSAGES.values())
    assert rounds.to_show((SID, 1)) == []
    rounds.own((SID, 1), PARTIES)
    assert rounds.to_show((SID, 2)) == []
    assert rounds.to_show((SID, 1)) == list(MESSAGES.values())
    assert rounds.to_show((SID, 1)) == []


def shown(sender: PartyId, *messages: Signed, round_: int = 1) -> Signed:
    return message(sender, show_value(messages), kind=Kind.SHOW, round_=round_)


def test_whoever_echoed_something_else_is_waited_for():
    """What it shows ends the session, or proves nothing."""
    rounds, mail = echo_rounds(*MESSAGES.values())
    rounds.own((SID, 1), PARTIES)
    assert rounds.differ((SID, 1), {C: OTHER, B: ECHO, A: OTHER}) is True
    assert rounds.showing == (SID, 1)
    assert rounds.lacking() == (A, C)
    mail.keep_show(shown(A, MESSAGES[A]))
    assert rounds.lacking() == (A, C)
    assert (rounds.equivocation(), rounds.contradiction()) == (None, None)


def test_two_versions_in_shows_or_between_a_show_and_ours():
    rounds, mail = echo_rounds(*MESSAGES.values())
    rounds.own((SID, 1), PARTIES)
    mail.keep_show(shown(A, MESSAGES[A], MESSAGES[B]))
    assert rounds.equivocation() is None
    mail.keep_show(shown(C, MESSAGES[A], OTHER_B))
    assert rounds.equivocation() == (MESSAGES[B], OTHER_B)

    elsewhere, mail = echo_rounds()
    mail.keep_show(shown(A, MESSAGES[B]))
    mail.keep_show(shown(C, OTHER_B))
    assert elsewhere.equivocation() == (MESSAGES[B], OTHER_B)


@pytest.mark.parametrize("echo", [ECHO, OTHER], ids=["our echo", "another echo"])
def test_a_party_that_shows_something_else_than_it_echoed_is_blamed(echo):
    rounds, mail = echo_rounds(*MESSAGES.values())
    rounds.own((SID, 1), PARTIES)
    rounds.differ((SID, 1), {A: OTHER, B: echo, C: ECHO})
    assert rounds.contradiction() is None
    mail.keep_show(shown(C, *MESSAGES.values()))
    assert rounds.contradiction() is None
    mail.keep_show(shown(B, MESSAGES[ME]))
    assert rounds.contradiction() is None
    lie = shown(B, MESSAGES[A], message(C, b"other") if echo is ECHO else MESSAGES[B])
    mail.keep_show(lie)
    found = rounds.contradiction()
    assert found is not None
    fault, accused, show = found
    assert isinstance(fault, EchoMismatch)
    assert fault.what == "its echo contradicts the messages that it shows"
    assert (fault.peer, fault.check, accused, show.signed) == (3, "test.r1.echo", B, lie)


def test_a_show_of_another_round_contradicts_nothing():
    rounds, mail = echo_rounds(*MESSAGES.values())
    rounds.own((SID, 1), PARTIES)
    mail.keep_show(shown(A, message(A, b"other", round_=2), round_=2))
    assert rounds.contradiction() is None
    rounds.differ((SID, 1), {A: OTHER, B: ECHO, C: ECHO})
    assert rounds.contradiction() is None


def test_of_two_contradictions_the_first_party_is_named():
    """All honest parties see the same shows sooner or later; the order makes the outcome one."""
    rounds, mail = echo_rounds(*MESSAGES.values())
    rounds.own((SID, 1), PARTIES)
    rounds.differ((SID, 1), {C: OTHER, B: OTHER, A: ECHO})
    for party in (C, B):
        mail.keep_show(shown(party, MESSAGES[B]))
    found = rounds.contradiction()
    assert found is not None
    assert found[1] == B


def test_a_peers_echo_is_read_against_the_parties_of_our_own():
    rounds, _ = echo_rounds(*MESSAGES.values())
    rounds.own((SID, 1), PARTIES)
    assert rounds.read((SID, 1), A, value_of(OTHER)) == OTHER
    with pytest.raises(SchemaViolation) as fault:
        rounds.read((SID, 1), A, value_of(replace(ECHO, digest=bytes(32))))
    assert (fault.value.peer, fault.value.check) == (2, "test.r1.echo")

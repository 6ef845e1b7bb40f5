"""The states of a presignature (protocol.md 3.5 step 1): one promise, one answer, never backwards."""

from __future__ import annotations

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cggmp24_testing import Signers
from tss_testing import TINY, SeededRng

from tss.cggmp24.presignature import Presignature, Promise, State
from tss.errors import PresignatureSpent

Q = TINY.group.q
DIGEST, PATH, TAU = b"d" * 32, (1, 2), 77
REQ = b"q" * 32
M, R, XI = 11, 22, 33


@pytest.fixture
def fresh() -> Presignature:
    return Signers((1, 2), 2).stock()[1]


def rng(size: int) -> bytes:
    return b"e" * size


def forbidden(_size: int) -> bytes:
    raise AssertionError("entropy is drawn once for one request")


@pytest.fixture
def promised(fresh: Presignature) -> Presignature:
    fresh.promise(DIGEST, PATH, TAU, rng)
    return fresh


@pytest.fixture
def answered(promised: Presignature) -> Presignature:
    promised.answer(REQ, b"e" * 32, M, R, XI)
    return promised


def secrets_of(part: Presignature) -> Any:
    return part._secrets


class TestPromise:
    def test_fresh_to_promised(self, fresh: Presignature) -> None:
        assert fresh.state is State.FRESH
        assert fresh.promise(DIGEST, PATH, TAU, rng) == b"e" * 32
        assert fresh.state is State.PROMISED

    def test_the_same_request_gets_the_same_entropy(self, promised: Presignature) -> None:
        assert promised.promise(DIGEST, PATH, TAU, forbidden) == b"e" * 32
        assert promised.state is State.PROMISED

    @pytest.mark.parametrize(
        "other", [(b"D" * 32, PATH, TAU), (DIGEST, (1, 3), TAU), (DIGEST, (), TAU), (DIGEST, PATH, TAU + 1)]
    )
    def test_any_other_request_is_refused(self, promised: Presignature, other: Any) -> None:
        before = secrets_of(promised)
        with pytest.raises(PresignatureSpent):
            promised.promise(*other, forbidden)
        assert (promised.state, secrets_of(promised)) == (State.PROMISED, before)
        assert promised.promise(DIGEST, PATH, TAU, forbidden) == b"e" * 32

    def test_after_the_answer(self, answered: Presignature) -> None:
        assert answered.promise(DIGEST, PATH, TAU, forbidden) == b"e" * 32
        assert answered.state is State.ANSWERED
        with pytest.raises(PresignatureSpent):
            answered.promise(b"D" * 32, PATH, TAU, forbidden)

    @pytest.mark.parametrize("state", ["fresh", "promised", "answered"])
    def test_after_the_end(self, state: str, request: pytest.FixtureRequest) -> None:
        part: Presignature = request.getfixturevalue(state)
        part.destroy()
        with pytest.raises(PresignatureSpent):
            part.promise(DIGEST, PATH, TAU, forbidden)
        assert part.state is State.DESTROYED

    def test_without_randomness_nothing_is_promised(self, fresh: Presignature) -> None:
        def empty(_size: int) -> bytes:
            raise OSError("no randomness")

        with pytest.raises(OSError, match="no randomness"):
            fresh.promise(DIGEST, PATH, TAU, empty)
        assert fresh.state is State.FRESH


class TestPromiseWith:
    """A record that is born for one request (full signing)."""

    def test_fresh_to_promised(self, fresh: Presignature) -> None:
        fresh.promise_with(DIGEST, PATH, TAU, b"f" * 32)
        assert fresh.state is State.PROMISED
        assert fresh.promise(DIGEST, PATH, TAU, forbidden) == b"f" * 32

    @pytest.mark.parametrize("state", ["promised", "answered"])
    def test_only_once(self, state: str, request: pytest.FixtureRequest) -> None:
        part: Presignature = request.getfixturevalue(state)
        before = part.state
        with pytest.raises(PresignatureSpent):
            part.promise_with(DIGEST, PATH, TAU, b"e" * 32)
        assert part.state is before
        assert part.promise(DIGEST, PATH, TAU, forbidden) == b"e" * 32

    def test_after_the_end(self, fresh: Presignature) -> None:
        fresh.destroy()
        with pytest.raises(PresignatureSpent):
            fresh.promise_with(DIGEST, PATH, TAU, b"e" * 32)
        assert fresh.state is State.DESTROYED


class TestAnswer:
    def test_the_formula(self, promised: Presignature) -> None:
        """sigma_i = k'_i*m + r*chi'_i with k' = k~/xi, chi' = (chi~ + tau*k~)/xi (protocol.md 3.4, 3.5)."""
        k, chi = secrets_of(promised)
        sigma = promised.answer(REQ, b"e" * 32, M, R, XI)
        k_, chi_ = k * pow(XI, -1, Q) % Q, (chi + TAU * k) * pow(XI, -1, Q) % Q
        assert sigma == (k_ * M + R * chi_) % Q
        assert promised.state is State.ANSWERED

    def test_the_secrets_are_gone(self, answered: Presignature) -> None:
        assert secrets_of(answered) is None

    def test_the_same_request_gets_the_same_answer(self, promised: Presignature) -> None:
        first = promised.answer(REQ, b"e" * 32, M, R, XI)
        # Only req decides: it binds id, digest, tau and all entropy.
        assert promised.answer(REQ, b"x" * 32, M + 1, R + 1, XI + 1) == first

    @pytest.mark.attack("D2")
    def test_another_request_is_refused(self, answered: Presignature) -> None:
        for e in (b"e" * 32, b"x" * 32):
            with pytest.raises(PresignatureSpent):
                answered.answer(b"Q" * 32, e, M, R, XI)
        assert answered.state is State.ANSWERED

    @pytest.mark.attack("D2")
    def test_entropy_that_was_not_promised_is_refused(self, promised: Presignature) -> None:
        before = secrets_of(promised)
        with pytest.raises(PresignatureSpent):
            promised.answer(REQ, b"x" * 32, M, R, XI)
        assert (promised.state, secrets_of(promised)) == (State.PROMISED, before)
        promised.answer(REQ, b"e" * 32, M, R, XI)

    def test_without_a_promise(self, fresh: Presignature) -> None:
        with pytest.raises(PresignatureSpent):
            fresh.answer(REQ, b"e" * 32, M, R, XI)
        assert fresh.state is State.FRESH
        assert secrets_of(fresh) is not None

    @pytest.mark.parametrize("state", ["fresh", "promised", "answered"])
    def test_after_the_end(self, state: str, request: pytest.FixtureRequest) -> None:
        part: Presignature = request.getfixturevalue(state)
        part.destroy()
        assert secrets_of(part) is None
        with pytest.raises(PresignatureSpent):
            part.answer(REQ, b"e" * 32, M, R, XI)
        assert part.state is State.DESTROYED


class TestDestroy:
    @pytest.mark.parametrize("state", ["fresh", "promised", "answered"])
    def test_from_any_state_and_again(self, state: str, request: pytest.FixtureRequest) -> None:
        part: Presignature = request.getfixturevalue(state)
        for _ in range(2):
            part.destroy()
            assert part.state is State.DESTROYED
            kept = (secrets_of(part), part._promise, part._answer)
            assert kept == (None, None, None)


class RecordingLock:
    """A lock that tells in which state the presignature was when it was taken and given back."""

    def __init__(self, part: Presignature) -> None:
        self.part = part
        self.seen: list[tuple[State, State]] = []
        self.before = part.state

    def __enter__(self) -> None:
        self.before = self.part.state

    def __exit__(self, *_: object) -> None:
        self.seen.append((self.before, self.part.state))


class TestOneLock:
    """Every step from one state to the next happens entirely under the lock."""

    def test_each_step(self, fresh: Presignature) -> None:
        lock = RecordingLock(fresh)
        fresh._lock = lock  # type: ignore[assignment]
        fresh.promise(DIGEST, PATH, TAU, rng)
        fresh.answer(REQ, b"e" * 32, M, R, XI)
        fresh.destroy()
        assert lock.seen == [
            (State.FRESH, State.PROMISED),
            (State.PROMISED, State.ANSWERED),
            (State.ANSWERED, State.DESTROYED),
        ]

    def test_a_record_born_for_one_request(self, fresh: Presignature) -> None:
        lock = RecordingLock(fresh)
        fresh._lock = lock  # type: ignore[assignment]
        fresh.promise_with(DIGEST, PATH, TAU, b"e" * 32)
        assert lock.seen == [(State.FRESH, State.PROMISED)]

    @pytest.mark.attack("D2")
    def test_a_race_of_requests_has_one_winner(self) -> None:
        """Whoever comes first: one digest is promised, one sigma exists, everybody else is refused."""
        signers = Signers((1, 2), 2)
        with ThreadPoolExecutor(8) as pool:
            for seed in range(20):
                part = signers.stock(seed)[1]

                def ask(i: int, part: Presignature = part) -> int | None:
                    try:
                        e = part.promise(bytes([i]) * 32, (), 0, SeededRng(i))
                        return part.answer(bytes([i]) * 32, e, i, R, XI)
                    except PresignatureSpent:
                        return None

                sigmas = [sigma for sigma in pool.map(ask, range(8)) if sigma is not None]
                assert len(sigmas) == 1, seed
                assert part.state is State.ANSWERED


def test_the_states_by_name() -> None:
    """As the specification and `repr` call them."""
    assert [state.value for state in State] == ["fresh", "promised", "answered", "destroyed"]


@pytest.mark.attack("D3")
class TestSecrecy:
    def test_repr_shows_id_and_state_only(self, promised: Presignature) -> None:
        k, chi = secrets_of(promised)
        text = repr(promised)
        assert text == f"Presignature(id={promised.id.hex()[:16]}, state=promised)"
        assert str(k) not in text
        assert str(chi) not in text

    def test_a_promise_does_not_show_its_entropy(self) -> None:
        assert "secret" not in repr(Promise(DIGEST, PATH, TAU, b"secret entropy"))

    @pytest.mark.attack("D3")
    def test_there_is_no_way_to_write_one_down(self, fresh: Presignature) -> None:
        assert not hasattr(fresh, "to_bytes")
        with pytest.raises(TypeError):
            pickle.dumps(fresh)
        assert not any(f.name == "k" or "chi" in f.name for f in dataclasses.fields(fresh.public))

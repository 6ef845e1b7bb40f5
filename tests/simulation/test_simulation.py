"""A slice of the simulation: some committees' lives, with faults and malicious parties, and no invariant violated."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from simulation import main
from simulation.checker import check
from simulation.main import Tally, replay_command, report, tally_of
from simulation.malice import Cheat
from simulation.relay import Faults
from simulation.scenarios import Life, life_of
from simulation.world import Setting, World
from tss_testing import TINY

from tss.errors import PeerFault, ProofInvalid

LIVES = 40
ALL_PROTOCOLS = 14
"""A life in which everything is asked for, and nothing goes wrong."""
RUN = Path(__file__).parent / "run.py"


@pytest.fixture(scope="module")
def lives() -> Tally:
    return tally_of(range(LIVES))


def test_no_invariant_is_violated(lives: Tally) -> None:
    violations = [f"{replay_command(seed)}: {what}" for seed, what in lives.violations]
    assert not violations, "\n".join(violations)
    assert f"{lives.total} sessions in {LIVES} lives, 0 violations" in report(lives, 1.0)


def test_what_the_lives_are_made_of(lives: Tally) -> None:
    """A simulation in which nothing happens proves nothing."""
    assert all(lives.sessions[kind] for kind in ("keygen", "aux", "presign", "full-sign", "sign"))
    faults = ("lost", "late", "duplicated", "forged", "replayed", "crash", "write refused", "deadline passed")
    assert all(lives.faults[fault] for fault in faults)
    assert any(fault.startswith("malice") for fault in lives.faults)
    assert lives.ends["result"] > lives.total / 2
    assert {"Timeout", "Refused", "NotStored", "PresignatureSpent"} <= set(lives.ends)


class WrongOutputs(Cheat):
    def _draw_rules(self, count: int) -> list[str]:
        return ["wrong outputs"][:count]


def test_who_broadcasts_wrong_outputs_is_identified_by_all() -> None:
    """Protocol.md 4.2 in a life: nothing is lost, so every honest party comes to the proof."""
    world = World(Setting(3, TINY, 3, 3, Faults(latency=0.1), {2: WrongOutputs}))
    world.parties[2].rules = {"wrong outputs": 1.0}
    life = Life(world, profile_quiet=True)
    world.deal("dealt", 0)
    for when in range(4):
        world.scheduler.after(100.0 * when, life.presign)
    artefacts = world.run()
    assert check(artefacts) == []
    honest = [ended for ended in artefacts.ended if ended.party != 2]
    assert artefacts.identifications == 8
    blaming = [ended.error for ended in honest if isinstance(ended.error, PeerFault)]
    assert len(blaming) >= 4, "one of two may hear of the other's complaint first"
    assert {(type(error), error.peer) for error in blaming} == {(ProofInvalid, 2)}


def test_a_life_is_what_its_seed_says() -> None:
    """In another process, with other hashes of strings, too."""
    life = life_of(ALL_PROTOCOLS)
    assert all(life.kinds()[kind] for kind in ("keygen", "aux", "presign", "full-sign", "sign"))
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, str(RUN), "--seed", str(ALL_PROTOCOLS), "--trace"]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert f"digest {life.digest()}" in told
    assert "no violation" in told
    assert "keygen.r2" in told


def test_a_violation_is_reported_with_the_command_that_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "check", lambda _: ["S1: two partials"])
    assert main.main(["--seed", str(ALL_PROTOCOLS)]) == 1
    assert "S1: two partials" in capsys.readouterr().out
    told = report(tally_of([ALL_PROTOCOLS]), 1.0)
    assert f"seed {ALL_PROTOCOLS}: S1: two partials\n  make simulate SEED={ALL_PROTOCOLS}" in told


def test_what_the_simulation_itself_does_wrong_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "life_of", partial(int, "no number"))
    (violation,) = tally_of([5]).violations
    assert violation[0] == 5
    assert violation[1].startswith("simulation: ")

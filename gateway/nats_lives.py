"""How rooms in NATS live and end: the stream of their activity, and what is dropped of their logs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from gateway.nats_link import ApiError, Exhausted, NatsLink
from gateway.nats_log import Names
from gateway.settings import RoomsSettings
from gateway.store import StoreFull, StoreUnavailable

# Of rooms that ended, in one turn of housekeeping: others wait for it.
DROPPED_AT_A_TIME = 32


class RoomLives:
    """Of all rooms, by the tokens of their names. Any method raises StoreUnavailable."""

    def __init__(self, names: Names, limits: RoomsSettings, now: Callable[[], float]) -> None:
        """`now`: seconds of a clock that never goes back."""
        self._names = names
        self._limits = limits
        self._now = now
        self._swept_at = now()
        self._dead: list[str] = []

    async def is_alive(self, link: NatsLink, token: str) -> bool:
        """Whether the room has not ended."""
        return await link.last(self._names.rooms_stream, self._names.alive(token)) is not None

    async def touch(self, link: NatsLink, token: str) -> None:
        """Says that a room is in use; for one that is new another may have to go."""
        while True:
            try:
                await link.publish(self._names.alive(token))
            except Exhausted:
                if not await self._drop_longest_idle(link):
                    raise StoreFull(
                        "rooms_full",
                        f"there are {self._limits.max_rooms} rooms in use, as many as there may be",
                    ) from None
            else:
                return

    async def _drop_longest_idle(self, link: NatsLink) -> bool:
        """Drops the room that idled longest, if it idled long enough."""
        names = self._names
        longest = await link.first(names.rooms_stream, names.alives, 1)
        if longest is None:
            return True
        # By this machine's clock: some seconds more or less do not matter.
        if time.time() - longest.time < self._limits.min_idle_seconds:
            return False
        token = longest.subject.rpartition(".")[2]
        last = await link.last(names.log_stream, names.log(token))
        # Not if it has been used since.
        if await self.forget(link, names.rooms_stream, longest.seq) and last is not None:
            await self.drop_log(link, token, last.seq)
        return True

    async def drop_dead(self, link: NatsLink) -> int:
        """Drops messages of rooms that ended; returns of how many rooms."""
        names = self._names
        if not self._dead and self._now() - self._swept_at >= self._limits.idle_seconds / 4:
            self._swept_at = self._now()
            logs = await self._subjects(link, names.log_stream, names.logs)
            alives = await self._subjects(link, names.rooms_stream, names.alives)
            self._dead = list(logs - alives)
        now, self._dead = self._dead[:DROPPED_AT_A_TIME], self._dead[DROPPED_AT_A_TIME:]
        dropped = 0
        for token in now:
            last = await link.last(names.log_stream, names.log(token))
            # The log first, as always.
            if last is not None and not await self.is_alive(link, token):
                await self.drop_log(link, token, last.seq)
                dropped += 1
        return dropped

    @staticmethod
    async def _subjects(link: NatsLink, stream: str, subjects: str) -> set[str]:
        """The rooms (their tokens) of which a stream has messages."""
        try:
            state = (await link.api(f"STREAM.INFO.{stream}", subjects_filter=subjects))["state"]
        except ApiError as error:
            raise StoreUnavailable(f"NATS: {error}") from None
        return {subject.rpartition(".")[2] for subject in state.get("subjects") or {}}

    async def drop_log(self, link: NatsLink, token: str, up_to: int) -> None:
        """Drops a room's records up to that seq."""
        name = self._names.log_stream
        with contextlib.suppress(ApiError):
            await link.api(f"STREAM.PURGE.{name}", filter=self._names.log(token), seq=up_to + 1)

    async def forget(self, link: NatsLink, stream: str, seq: int) -> bool:
        """Drops one record; whether it was there."""
        try:
            await link.api(f"STREAM.MSG.DELETE.{stream}", seq=seq, no_erase=True)
        except ApiError:
            return False
        return True

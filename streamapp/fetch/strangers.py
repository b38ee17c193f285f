"""Slots for hosts that nobody knows yet, handed out to one host after the other."""

import asyncio
from collections import Counter, OrderedDict, deque


class StrangerSlots:
    """Bounds the requests to hosts that are not known.

    Hosts take turns, whoever of them came first: a host that hangs and is named by a thousand events must
    not keep another's first request waiting behind all of them. A host that becomes known meanwhile needs
    these slots no longer, and those who wait for it go on at once.

    Args:
        in_all: most slots that are held.
        per_host: most of them for one host.
    """

    def __init__(self, in_all: int, per_host: int) -> None:
        self._free = in_all
        self._per_host = per_host
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[bool]]] = OrderedDict()

    async def take(self, host: str) -> bool:
        """Wait for a slot.

        Returns:
            Whether one is held now, to be given back; false where the host became known meanwhile.
        """
        if self._free and self._held[host] < self._per_host and host not in self._waiting:
            self._hold(host)
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(host, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(host, turn)
            elif turn.result():
                self.give_back(host)
            raise

    def give_back(self, host: str) -> None:
        """Let the next one have this host's slot."""
        self._free += 1
        self._held[host] -= 1
        if not self._held[host]:
            del self._held[host]
        self._hand_out()

    def welcome(self, host: str) -> None:
        """Let those go on who wait for a host that is known now."""
        for turn in self._waiting.pop(host, ()):
            if not turn.done():
                turn.set_result(False)

    def _hold(self, host: str) -> None:
        self._free -= 1
        self._held[host] += 1

    def _hand_out(self) -> None:
        for host in [host for host in self._waiting if self._held[host] < self._per_host]:
            if not self._free:
                return
            turn = self._next_turn(host)
            if turn is not None:
                self._hold(host)
                turn.set_result(True)

    def _next_turn(self, host: str) -> asyncio.Future[bool] | None:
        """Take the host's first turn out, and put the host behind the others.

        Those who were cancelled and have not noticed yet are passed over: a slot that they let lie would
        wake nobody any more.
        """
        turns = self._waiting[host]
        turn = None
        while turn is None and turns:
            first = turns.popleft()
            turn = first if not first.done() else None
        self._waiting.move_to_end(host)
        if not turns:
            del self._waiting[host]
        return turn

    def _forget(self, host: str, turn: asyncio.Future[bool]) -> None:
        turns = self._waiting.get(host)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[host]

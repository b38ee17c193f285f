"""The limits of each host: whether it is asked at all, when, and by how many at once."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from streamapp.errors import FetchError
from streamapp.fetch.breaker import Breakers, Outcome, outcome_of
from streamapp.fetch.hosts import canonical_hosts, is_listed
from streamapp.fetch.rate import RateLimit
from streamapp.fetch.slots import Slots
from streamapp.fetch.steps import StepKind, tell
from streamapp.reasons import Reason
from streamapp.settings import Settings

log = logging.getLogger(__name__)


class HostLimits:
    """What hosts are owed: the circuit breaker, the rate limit and the slots of each.

    Hosts are named in canonical form.

    Args:
        settings: those under "Fetch".
        clock: seconds, monotonic.
        sleep: waits that many seconds.

    Raises:
        SettingsError: something in ``patient_hosts`` or ``allowed_hosts`` is not a host.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._patient_hosts = canonical_hosts("patient_hosts", settings.patient_hosts) | canonical_hosts(
            "allowed_hosts", settings.allowed_hosts
        )
        self._vouched_for: set[str] = set()
        self._breakers = Breakers(settings.breaker_failures, settings.breaker_open_s, clock)
        self._rate = RateLimit(settings.requests_per_host_per_s, clock, sleep)
        self._slots = Slots(
            settings.downloads_in_flight,
            settings.downloads_per_host,
            self.is_patient if self._patient_hosts else None,
        )

    def is_patient(self, host: str) -> bool:
        """Whether events wait for this host when it is down, because the operator named it."""
        return host in self._vouched_for or is_listed(host, self._patient_hosts)

    def vouch_for(self, host: str) -> None:
        """Count a host among those that the operator named: one that serves the buckets of the settings."""
        self._vouched_for.add(host)

    def is_known(self, host: str) -> bool:
        """Whether this host was named by the operator or, where none was, proved itself lately."""
        return self._slots.is_known(host)

    def delivered(self, hosts: Iterable[str]) -> None:
        """Note that these hosts had their part in a file, and were quick."""
        for host in dict.fromkeys(hosts):
            self._slots.delivered(host)

    def lingered(self, host: str) -> None:
        """Note that a host took its time: it holds slots nearly as long as one that hangs."""
        self._slots.failed(host)

    @asynccontextmanager
    async def entered(self, host: str, within_s: float) -> AsyncIterator[None]:
        """Hold a slot of a host that may be asked.

        1. A host that is down fails at once.
        2. Wait for the turn that the rate limit gives; no slot is held meanwhile.
        3. Wait for a slot.
        4. Those who waited for a host that died meanwhile fail, and not one by one at the host.

        Args:
            host: who will be asked.
            within_s: how long the request may wait.

        Raises:
            FetchError: circuit_open or rate_limited.
        """
        self._refuse_if_open(host)
        await self._rate.turn(host, within_s)
        async with self._slots.taken(host):
            self._refuse_if_open(host)
            yield

    @contextmanager
    def watched(self, host: str) -> Iterator[None]:
        """Let the host's breaker learn how the one request in this block ends."""
        outcome = Outcome.NOTHING
        is_probe = self._breakers.begin(host)
        if is_probe:
            tell(StepKind.BREAKER, "%s is asked to see whether it works again", host)
        try:
            yield
            outcome = Outcome.ANSWERED
        except FetchError as exc:
            outcome = outcome_of(exc)
            raise
        finally:
            if outcome is Outcome.FAILED:
                self._slots.failed(host)
            if self._breakers.end(host, outcome, is_probe=is_probe):
                error = self.circuit_open(host)
                tell(StepKind.BREAKER, "%s", error)
                log.warning("%s Events that name it fail or wait meanwhile.", error)

    def circuit_open(self, host: str) -> FetchError | None:
        """The error of a request to a host that is not to be asked now; None for one that may be.

        It can be tried again where the host is a patient one, after ``retry_after_s``.
        """
        wait_s = self._breakers.wait_s(host)
        if not wait_s:
            return None
        message = (
            f"The host {host!r} failed {self._breakers.failures(host)} times in a row and is left alone "
            f"for {wait_s:.0f} s."
        )
        return FetchError(
            Reason.CIRCUIT_OPEN, message, is_retriable=self.is_patient(host), retry_after_s=wait_s
        )

    def _refuse_if_open(self, host: str) -> None:
        error = self.circuit_open(host)
        if error is not None:
            raise error

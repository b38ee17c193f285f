"""The downloader: a URL in, the file's bytes out, within limits and away from private networks."""

import asyncio
import logging
import random as random_module
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from aiohttp.abc import AbstractResolver
from yarl import URL

from streamapp.errors import FetchError
from streamapp.fetch.answers import read_answer
from streamapp.fetch.connecting import GuardedResolver, requested_host
from streamapp.fetch.deadline import Deadline, PausableClock
from streamapp.fetch.dns import DnsResolver
from streamapp.fetch.guard import Rules, check_url, parse_url
from streamapp.fetch.host_limits import HostLimits
from streamapp.fetch.hosts import canonical_host
from streamapp.fetch.job import Admit, Job
from streamapp.fetch.retry import backoff_s
from streamapp.fetch.s3 import S3Presigner
from streamapp.fetch.sessions import Sessions
from streamapp.fetch.steps import Observer, StepKind, tell, traced
from streamapp.fetch.translation import TRANSLATED, translate
from streamapp.reasons import Reason
from streamapp.settings import Settings

log = logging.getLogger(__name__)

_LEAST_SHARE = 0.25
"""Of an attempt's time, for the target of a redirect: it must not seem slow because its sender was."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file that was fetched.

    Attributes:
        content: the file's bytes, as the server sent them.
        url: where they came from in the end, after redirects; an ``s3://`` URL as it was given.
        attempts: requests for the event's URL, the successful one included; redirects not counted.
        fetch_s: seconds from the call to the last byte, waits for slots and retries included.
    """

    content: bytes
    url: str
    attempts: int
    fetch_s: float


class Downloader:
    """Fetches files over HTTP; an async context manager that owns the connections.

    Attributes:
        retries: further attempts, by the reason that the one before failed for.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
        clock: Callable[[], float] = time.monotonic,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Prepare; nothing is opened before the context is entered.

        Args:
            settings: those under "Fetch".
            sleep: waits that many seconds, between attempts and for the rate limit.
            random: a number in [0, 1), for the jitter.
            clock: seconds, monotonic.
            resolver: names to addresses, guarded by us and closed with us; None for the system's.

        Raises:
            SettingsError: one of the lists of hosts has something that is not a host.
        """
        self._settings = settings
        self._rules = Rules.from_settings(settings)
        # The buckets are a list of their own, and the endpoint is the operator's choice.
        self._s3_rules = replace(self._rules, allowed_hosts=frozenset())
        self._sleep = sleep
        self._random = random
        self._clock = clock
        self._resolver = resolver
        self._limits = HostLimits(settings, clock, sleep)
        self._deadline_clock = PausableClock()
        self._presigner = S3Presigner(settings)
        self._stack = AsyncExitStack()
        self._sessions: Sessions | None = None
        self.retries: Counter[Reason] = Counter()

    async def __aenter__(self) -> Self:
        if self._rules.allow_private_hosts:
            log.warning(
                "allow_private_hosts is set: URLs in events can reach %s inside this network, on any port. "
                "Leave it empty in production.",
                ", ".join(sorted(self._rules.allow_private_hosts)),
            )
        self._stack.callback(self._presigner.close)
        resolver = GuardedResolver(
            self._resolver or DnsResolver(searched_hosts=self._rules.allow_private_hosts),
            self._rules,
            self._clock,
        )
        self._stack.push_async_callback(resolver.close)
        self._sessions = await self._stack.enter_async_context(
            Sessions(self._settings, resolver, self._rules)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sessions = None
        await self._stack.aclose()

    async def fetch(
        self, url: str, *, admit: Admit | None = None, observe: Observer | None = None
    ) -> Download:
        """Download a file: check, request, and try again where that can help.

        Between attempts no slot is held. One deadline covers everything up to the last byte, but for the
        time in which any file waits in ``admit``: who then waits for a slot waits for the caller.

        Args:
            url: as the event has it: http, https, or s3 for the buckets of the settings.
            admit: is awaited when the last byte is in, while the slot is still held: a caller that has no
                room for the file lets it wait there, and so lets fewer downloads begin. No time limit of
                the download covers this wait.
            observe: is told each step.

        Raises:
            FetchError: the file can't be had; ``attempts`` is the number of requests, 0 where the URL
                itself was refused, its host is left alone, or the deadline came before the first slot.
        """
        with traced(observe, self._clock):
            try:
                return await self._fetched(url, admit)
            except FetchError as exc:
                tell(StepKind.BLOCKED, "%s: %s", exc.reason, exc)
                raise

    async def _fetched(self, url: str, admit: Admit | None) -> Download:
        source = parse_url(url)
        if source.scheme != "s3":
            source = check_url(source, self._rules)
            tell(StepKind.URL, "%s: allowed", source)
        deadline_s = self._settings.fetch_deadline_s
        job = Job(source, Deadline(self._deadline_clock, deadline_s), admit, self._clock())
        try:
            async with job.deadline:
                return await self._attempts(job)
        except TimeoutError as exc:
            # One of the caller's own, from `admit`.
            if not job.deadline.has_expired:
                raise
            raise job.out_of_time(f"Not had after {deadline_s:g} s, in {job.attempts} attempts.") from exc

    async def _attempts(self, job: Job) -> Download:
        """Attempt it until that succeeds, or can't, or was done often enough."""
        while True:
            try:
                return await self._attempt(job)
            except FetchError as exc:
                wait_s = self._wait_before_next_s(job, exc)
                self.retries[exc.reason] += 1
                tell(StepKind.RETRY, "in %.2f s, after %s: %s", wait_s, exc.reason, exc)
            await self._sleep(wait_s)

    def _wait_before_next_s(self, job: Job, error: FetchError) -> float:
        """Seconds until the next attempt.

        Raises:
            FetchError: there is none.
        """
        if error.reason is Reason.CIRCUIT_OPEN:
            if not error.is_retriable:
                # What the host did to this event says more than that it is not asked again.
                raise job.last_word(job.failure, str(error)) if job.failure else job.last_word(error)
            job.failure = job.failure or error
        else:
            job.failures += 1
            job.failure = error
            if not error.is_retriable or job.failures >= self._settings.download_attempts:
                raise job.last_word(error) from error
            open_error = self._limits.circuit_open(job.host)
            if open_error and not open_error.is_retriable:
                raise job.last_word(error, str(open_error)) from error
        wait_s = backoff_s(
            max(1, job.failures),
            self._settings.retry_base_s,
            self._settings.retry_max_s,
            self._random(),
            error.retry_after_s,
        )
        if wait_s >= job.deadline.left_s():
            raise job.last_word(job.failure, "There is no time left to ask again.") from error
        return wait_s

    async def _attempt(self, job: Job) -> Download:
        """One attempt: the request and its redirects, each checked, within one time limit."""
        url = await self._signed(job.source) if job.is_s3 else job.source
        left_s = self._settings.download_timeout_s
        prompt_hosts = []
        for redirects in range(self._settings.max_redirects + 1):
            job.host = canonical_host(url.raw_host or "")
            async with self._limits.entered(job.host, job.deadline.left_s()):
                job.attempts += redirects == 0
                started_s = self._clock()
                with self._limits.watched(job.host):
                    answer = await self._request(job, url, left_s)
                # Time spent waiting for a slot is not the server's, so it does not count.
                took_s = self._clock() - started_s
                left_s -= took_s
                if took_s > self._settings.download_timeout_s / 2:
                    self._limits.lingered(job.host)
                else:
                    prompt_hosts.append(job.host)
                if isinstance(answer, bytes):
                    # Who only redirects has its part in the file, and is else a stranger for ever.
                    self._limits.delivered(prompt_hosts)
                    return await self._delivered(job, url, answer)
            if left_s < _LEAST_SHARE * self._settings.download_timeout_s:
                message = f"The redirects took too long; {job.host!r} was the last of them."
                raise FetchError(Reason.TIMEOUT, message, is_retriable=True)
            url = check_url(str(answer), self._rules)
            tell(StepKind.URL, "%s: allowed", url)
        raise FetchError(
            Reason.TOO_MANY_REDIRECTS, f"The URL redirects more than {self._settings.max_redirects} times."
        )

    async def _signed(self, source: URL) -> URL:
        url = check_url(await self._presigner.presigned(source), self._s3_rules)
        self._limits.vouch_for(canonical_host(url.raw_host or ""))
        tell(StepKind.URL, "%s: allowed, by a signed URL of %s", source, url.raw_host)
        return url

    async def _delivered(self, job: Job, url: URL, content: bytes) -> Download:
        """The download, once the caller has room for it."""
        shown = job.source if job.is_s3 else url
        download = Download(content, str(shown), job.attempts, self._clock() - job.started_s)
        job.deadline.lift()
        if job.admit:
            with self._deadline_clock.paused():
                await job.admit()
        return download

    async def _request(self, job: Job, url: URL, timeout_s: float) -> bytes | URL:
        """One request: the body, or the URL that it redirects to, which is not yet checked.

        The one place where errors of the HTTP client become ours.
        """
        assert self._sessions is not None, "The downloader is not open. This is a bug."
        session = self._sessions.of(is_kept_alive=self._limits.is_known(job.host))
        requested_host.set(url.raw_host)
        tell(StepKind.REQUEST, "GET %s", job.source if job.is_s3 else url)
        try:
            async with asyncio.timeout(timeout_s), session.get(url, allow_redirects=False) as response:
                return await read_answer(
                    url, response, self._settings.max_download_bytes, is_signed=job.is_s3
                )
        except FetchError:
            raise
        except TRANSLATED as exc:
            raise translate(exc) from exc
        except Exception as exc:
            # The client fails on a stranger's answer in a way that it does not declare. That may cost this
            # event its file, but not the worker its life, and again after each restart.
            log.exception("The HTTP client failed on an answer of %s. This is a bug.", job.host)
            message = f"{type(exc).__name__} while the answer of {job.host!r} was read. This is a bug."
            raise FetchError(Reason.BAD_RESPONSE, message) from exc

"""Answers of DNS: checked before they are kept, and kept for their lifetime."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from dns_server import IPV4, answering

from streamapp.errors import FetchError
from streamapp.fetch import connecting
from streamapp.fetch.connecting import BlockedAddressError, GuardedResolver, GuardedSockets
from streamapp.fetch.dns import DnsResolver, TimedResult
from streamapp.fetch.downloader import Downloader
from streamapp.fetch.guard import Rules
from streamapp.reasons import Reason
from streamapp.settings import Settings

PUBLIC = "93.184.215.14"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class TimedResolver(AbstractResolver):
    """Answers from a list, one after the other, with the same lifetime each; the last one stays."""

    def __init__(self, ttl_s: float | None, *answers: list[str]) -> None:
        self._ttl_s = ttl_s
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        results = [
            TimedResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]
        if self._ttl_s is not None:
            for result in results:
                result["ttl_s"] = self._ttl_s
        return list(results)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(60.0, 60.0), (0.0, 1.0), (86400.0, 300.0)])
async def test_an_answer_is_kept_for_its_lifetime_within_bounds(ttl_s: float, kept_s: float) -> None:
    clock, asked = Clock(), TimedResolver(ttl_s, [PUBLIC])
    resolver = GuardedResolver(asked, Rules(), clock)
    for clock.now_s in (0.0, kept_s - 0.01):
        [result] = await resolver.resolve("cdn.example", 443)
        assert (result["host"], result["port"]) == (PUBLIC, 443)
    assert len(asked.asked) == 1
    [result] = await resolver.resolve("cdn.example", 80)
    assert result["port"] == 80
    clock.now_s = kept_s
    await resolver.resolve("cdn.example", 443)
    assert len(asked.asked) == 2


async def test_an_answer_without_a_lifetime_is_not_kept() -> None:
    asked = TimedResolver(None, [PUBLIC])
    resolver = GuardedResolver(asked, Rules())
    for _ in range(2):
        await resolver.resolve("cdn.example")
    assert len(asked.asked) == 2


async def test_an_answer_that_does_not_pass_is_not_kept() -> None:
    resolver = GuardedResolver(TimedResolver(60.0, ["10.0.0.1"], [PUBLIC, "10.0.0.1"], [PUBLIC]), Rules())
    for _ in range(2):
        with pytest.raises(BlockedAddressError):
            await resolver.resolve("cdn.example")
    assert (await resolver.resolve("cdn.example"))[0]["host"] == PUBLIC


async def test_a_name_that_turns_private_when_its_answer_is_out_of_date_is_refused() -> None:
    clock = Clock()
    resolver = GuardedResolver(TimedResolver(0.0, [PUBLIC], ["127.0.0.1"]), Rules(), clock)
    await resolver.resolve("cdn.example")
    clock.now_s = 1.0
    with pytest.raises(BlockedAddressError):
        await resolver.resolve("cdn.example")


async def test_few_answers_are_kept_and_the_busy_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_MOST_NAMES_KEPT", 2)
    asked = TimedResolver(60.0, [PUBLIC])
    resolver = GuardedResolver(asked, Rules())
    for host in ("a", "b", "a", "c", "a", "b"):
        await resolver.resolve(f"{host}.example")
    assert asked.asked == ["a.example", "b.example", "c.example", "b.example"]


@pytest.mark.parametrize("addresses", [["203.0.114.5"], [PUBLIC, "203.0.114.5"]])
async def test_a_name_that_resolves_to_a_blocked_address_is_refused_with_that_reason(
    addresses: list[str],
) -> None:
    rules = Rules(blocked_hosts=frozenset({"203.0.114.5"}), allow_private_hosts=frozenset({"cdn.example"}))
    with pytest.raises(BlockedAddressError) as caught:
        await GuardedResolver(TimedResolver(60.0, addresses), rules).resolve("cdn.example")
    assert caught.value.reason is Reason.HOST_BLOCKED
    with pytest.raises(BlockedAddressError) as caught:
        GuardedSockets(rules)((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("203.0.114.5", 80)))
    assert caught.value.reason is Reason.HOST_BLOCKED


async def test_the_downloader_reports_a_blocked_address_of_a_name() -> None:
    settings = Settings(blocked_hosts=("203.0.114.5",))
    async with Downloader(settings, resolver=TimedResolver(60.0, ["203.0.114.5"])) as downloader:
        with pytest.raises(FetchError) as caught:
            await downloader.fetch("http://cdn.example/")
    assert caught.value.reason is Reason.HOST_BLOCKED


async def test_the_lifetime_of_a_real_answer_is_obeyed() -> None:
    async with answering() as server:
        clock = Clock()
        resolver = GuardedResolver(DnsResolver((server.address,)), Rules(), clock)
        for clock.now_s in (0.0, 59.0):
            assert (await resolver.resolve("cdn.example", 80))[0]["host"] == IPV4
        assert server.asked == ["cdn.example"]
        await resolver.close()


async def test_a_server_that_fails_is_an_error_that_can_pass_and_a_name_that_is_gone_is_not() -> None:
    settings = Settings(download_attempts=1)
    async with (
        answering() as server,
        Downloader(settings, resolver=DnsResolver((server.address,))) as downloader,
    ):
        for host, is_retriable in (("broken.example", True), ("gone.example", False)):
            with pytest.raises(FetchError) as caught:
                await downloader.fetch(f"http://{host}/")
            assert (caught.value.reason, caught.value.is_retriable) == (Reason.HOST_UNKNOWN, is_retriable)

"""Names to addresses, asked of a real DNS server on loopback."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from dns_server import IPV4, IPV6, DnsServer, answering

from streamapp.fetch import dns
from streamapp.fetch.dns import DnsResolver


@asynccontextmanager
async def resolving(*searched_hosts: str) -> AsyncIterator[tuple[DnsResolver, DnsServer]]:
    async with asyncio.timeout(20), answering() as server:
        resolver = DnsResolver((server.address,), frozenset(searched_hosts))
        try:
            yield resolver, server
        finally:
            await resolver.close()


async def error_of(resolver: DnsResolver, host: str) -> int | None:
    with pytest.raises(socket.gaierror) as caught:
        await resolver.resolve(host, 80)
    return caught.value.errno


async def test_an_answer_has_the_address_the_port_and_its_lifetime() -> None:
    async with resolving() as (resolver, server):
        server.ttl_s = 17
        [result] = await resolver.resolve("cdn.example", 443)
    assert (result["hostname"], result["host"], result["port"]) == ("cdn.example", IPV4, 443)
    assert result["family"] == socket.AF_INET
    assert result.get("ttl_s") == 17.0


async def test_a_name_with_ipv6_addresses_only_resolves() -> None:
    async with resolving() as (resolver, _):
        [result] = await resolver.resolve("six.example", 80)
    assert (result["host"], result["family"]) == (IPV6, socket.AF_INET6)


@pytest.mark.parametrize("host", ["gone.example", "empty.example", "a..example", "a" * 64 + ".example"])
async def test_a_name_that_does_not_exist_has_the_errno_that_is_final(host: str) -> None:
    async with resolving() as (resolver, _):
        assert await error_of(resolver, host) == socket.EAI_NONAME


async def test_a_server_that_fails_has_the_errno_that_can_pass() -> None:
    async with resolving() as (resolver, _):
        assert await error_of(resolver, "broken.example") == socket.EAI_AGAIN


async def test_a_server_that_is_not_there_has_the_errno_that_can_pass() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    resolver = DnsResolver((f"127.0.0.1:{port}",))
    async with asyncio.timeout(20):
        assert await error_of(resolver, "cdn.example") == socket.EAI_AGAIN
    await resolver.close()


async def test_a_server_that_never_answers_has_the_errno_that_can_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dns, "_TRY_TIMEOUT_S", 0.25)
    monkeypatch.setattr(dns, "_TRIES", 1)
    async with resolving() as (resolver, _):
        assert await error_of(resolver, "hang.example") == socket.EAI_AGAIN


async def test_names_that_hang_hold_up_no_other_and_take_no_thread() -> None:
    async with resolving() as (resolver, _):
        threads_before = threading.active_count()
        hanging = [asyncio.create_task(resolver.resolve(f"hang-{i}.example")) for i in range(200)]
        for _ in range(3):
            assert (await resolver.resolve("cdn.example"))[0]["host"] == IPV4
        assert not any(task.done() for task in hanging)
        assert threading.active_count() <= threads_before + 1
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)


async def test_closing_ends_the_look_ups_that_are_under_way() -> None:
    async with resolving() as (resolver, server):
        hanging = asyncio.create_task(resolver.resolve("hang.example"))
        while not server.asked:
            await asyncio.sleep(0.001)
        await resolver.close()
        with pytest.raises(socket.gaierror):
            await hanging


async def test_the_hosts_file_is_read_first() -> None:
    resolver = DnsResolver()
    async with asyncio.timeout(20):
        answers = await resolver.resolve("localhost", 80, socket.AF_INET)
    assert {answer["host"] for answer in answers} == {"127.0.0.1"}
    await resolver.close()


@pytest.fixture
def _in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALDOMAIN", "svc.cluster.local")
    monkeypatch.setenv("RES_OPTIONS", "ndots:5")


@pytest.mark.usefixtures("_in_a_pod")
async def test_a_strangers_name_is_never_looked_for_in_the_search_domains() -> None:
    async with resolving("minio") as (resolver, server):
        for host in ("gone.default", "gone"):
            assert await error_of(resolver, host) == socket.EAI_NONAME
        await resolver.resolve("cdn.example.com")
    assert server.asked == ["gone.default", "gone", "cdn.example.com"]


@pytest.mark.usefixtures("_in_a_pod")
async def test_a_name_that_the_operator_wrote_is_looked_for_as_it_is_and_in_the_search_domains() -> None:
    async with resolving("minio", "gone.storage") as (resolver, server):
        await resolver.resolve("minio")
        assert await error_of(resolver, "gone.storage") == socket.EAI_NONAME
    assert server.asked == ["minio.svc.cluster.local", "gone.storage", "gone.storage.svc.cluster.local"]


async def test_what_c_ares_keeps_is_thrown_away_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "_LOOKUPS_PER_CHANNEL", 3)
    async with resolving() as (resolver, server):
        hanging = asyncio.create_task(resolver.resolve("hang.example"))
        # The first look-up of "cdn.example" is number 1, that of "hang.example" number 2.
        for asked in (1, 2, 2, 2):
            await resolver.resolve("cdn.example")
            assert server.asked.count("cdn.example") == asked
            # One that was under way goes on by the old channel, until that is two behind.
            assert not hanging.done()
        await resolver.resolve("cdn.example")
        with pytest.raises(socket.gaierror):
            await hanging

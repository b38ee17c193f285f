"""The NetworkPolicy lets through what the worker's own guard does, and nothing private but the broker."""

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import pytest
from kubernetes_objects import OVERLAYS, variables, written

from streamapp.fetch.guard import is_public_address
from streamapp.settings import Settings

WORKER, BROKER = written("base/network-policy.yaml")
(PUBLIC,) = [rule for rule in WORKER["spec"]["egress"] if "ipBlock" in rule["to"][0]]
BLOCKS = {
    ip_network(peer["ipBlock"]["cidr"]): [ip_network(one) for one in peer["ipBlock"]["except"]]
    for peer in PUBLIC["to"]
}
EXCEPTED = [network for networks in BLOCKS.values() for network in networks]


def is_let_through(address: IPv4Address | IPv6Address) -> bool:
    """As a network plugin decides: in a block and in none of its exceptions."""
    return any(
        address in block and not any(address in network for network in excepted)
        for block, excepted in BLOCKS.items()
    )


def around(network: IPv4Network | IPv6Network) -> Iterator[IPv4Address | IPv6Address]:
    """The first and last addresses of a network, and those just outside."""
    first, last, kind = int(network[0]), int(network[-1]), type(network[0])
    for number in (first - 1, first, last, last + 1):
        if 0 <= number < 2**network.max_prefixlen:
            yield kind(number)


def differences(addresses: Iterator[IPv4Address | IPv6Address]) -> list[str]:
    return [str(address) for address in addresses if is_let_through(address) != is_public_address(address)]


@pytest.mark.parametrize("network", EXCEPTED, ids=str)
def test_an_exception_ends_where_the_guards_does(network: IPv4Network | IPv6Network) -> None:
    assert differences(around(network)) == []


def test_policy_and_guard_agree_on_ipv4_wherever_they_are_asked() -> None:
    assert differences(IPv4Address(number << 16) for number in range(2**16)) == []
    special = [IPv4Network(one) for one in ("192.0.0.0/16", "192.88.0.0/16", "198.51.0.0/16", "203.0.0.0/16")]
    assert differences(subnet[1] for one in special for subnet in one.subnets(new_prefix=24)) == []


def test_policy_and_guard_agree_on_ipv6_wherever_they_are_asked() -> None:
    drawn = random.Random(7)
    assert differences(IPv6Address(number << 112) for number in range(2**16)) == []
    public = IPv6Network("2000::/3")
    assert differences(public[drawn.randrange(public.num_addresses)] for _ in range(5000)) == []
    assert differences(IPv6Address((0x20010000 + number) << 96) for number in range(2**11)) == []


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # metadata of AWS, Azure, Google
        "169.254.170.2",  # credentials of ECS
        "168.63.129.16",  # Azure's own server
        "100.100.100.200",  # metadata of Alibaba
        "192.0.0.192",  # metadata of Oracle
        "fd00:ec2::254",
        "10.96.0.1",
        "::1",
    ],
)
def test_a_clouds_inside_can_not_be_reached(address: str) -> None:
    assert not is_let_through(ip_address(address))


def test_only_the_ports_that_urls_may_name_are_open_to_the_internet() -> None:
    ports: list[dict[str, Any]] = PUBLIC["ports"]
    assert {str(port["port"]) for port in ports} == set(Settings().allowed_ports)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_broker_is_open_at_its_port_and_nothing_else_private_is(overlay: str) -> None:
    (rule,) = BROKER["spec"]["egress"]
    (broker,) = variables(overlay)["STREAMAPP_BROKERS"].split(",")
    name, port = broker.split(":")
    assert [str(open_port["port"]) for open_port in rule["ports"]] == [port]
    (peer,) = rule["to"]
    namespace = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    assert f".{namespace}.svc" in name
    (names,) = [other for other in WORKER["spec"]["egress"] if other is not PUBLIC]
    assert {open_port["port"] for open_port in names["ports"]} == {53}

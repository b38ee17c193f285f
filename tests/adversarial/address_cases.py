"""Addresses that must not be reached: in the URL itself, behind a name, and behind a redirect."""

from functools import partial

from adversarial.cases import Case, resolved, url
from adversarial.crafted_pictures import png
from adversarial.internet import CDN, Internet, http, redirect, sends

from streamapp.reasons import Reason, Status

# What it is → an address in its usual spelling.
ADDRESSES = {
    "loopback": "127.0.0.1",
    "loopback's far end": "127.255.255.254",
    "this network, 0.0.0.0": "0.0.0.0",
    "this network, 0.0.0.0/8": "0.1.2.3",
    "private 10/8": "10.0.0.1",
    "private 172.16/12": "172.31.255.254",
    "private 192.168/16": "192.168.1.1",
    "carrier-grade NAT, 100.64/10": "100.64.0.1",
    "link-local": "169.254.1.1",
    "cloud metadata, 169.254.169.254": "169.254.169.254",
    "Alibaba's metadata, 100.100.100.200": "100.100.100.200",
    "Azure's WireServer, public by its number": "168.63.129.16",
    "IETF assignments, 192.0.0/24": "192.0.0.192",
    "documentation, 192.0.2/24": "192.0.2.1",
    "6to4 relay, 192.88.99/24": "192.88.99.1",
    "benchmarking, 198.18/15": "198.19.255.255",
    "multicast": "224.0.0.251",
    "reserved, 240/4": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "IPv6 loopback": "::1",
    "IPv6 unspecified": "::",
    "IPv4-mapped loopback": "::ffff:127.0.0.1",
    "IPv4-mapped private, in hex": "::ffff:a00:1",
    "IPv4-mapped metadata": "::ffff:169.254.169.254",
    "IPv4-compatible loopback": "::127.0.0.1",
    "IPv4-translated, ::ffff:0:0:0/96": "::ffff:0:127.0.0.1",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 of metadata": "64:ff9b::169.254.169.254",
    "NAT64 for local use": "64:ff9b:1::10.0.0.1",
    "6to4 of loopback": "2002:7f00:1::",
    "6to4 of a private address": "2002:a00:1::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "ORCHID": "2001:20::1",
    "discard only": "100::1",
    "IPv6 documentation": "2001:db8::1",
    "unique-local": "fd00:ec2::254",
    "site-local": "fec0::1",
    "IPv6 link-local": "fe80::1",
    "IPv6 multicast": "ff02::1",
}

# What it is → a host that some parser reads as an address inside.
SPELLINGS = {
    "decimal": "2130706433",
    "hexadecimal": "0x7f000001",
    "octal": "017700000001",
    "parts in hexadecimal": "0x7f.0x0.0x0.0x1",
    "parts in octal": "0177.0.0.01",
    "two parts": "127.1",
    "three parts": "127.0.1",
    "nought": "0",
    "decimal metadata": "2852039166",
    "leading noughts": "127.000.000.001",
    "more than 32 bits": "4294967297",
    "a trailing dot": "127.0.0.1.",
    "full-width digits": "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "ideographic full stops": "127\u30020\u30020\u30021",
    "circled digits": "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "localhost": "localhost",
    "localhost with a trailing dot": "localhost.",
    "localhost in capitals": "LocalHost",
    "a name under localhost": "cdn.example.localhost",
    "localhost in full-width letters": "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
    "localhost in styled letters": "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "IPv6 loopback at length": "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "IPv6 loopback with a zone id": "[::1%25lo]",
    "IPv6 link-local with a zone id": "[fe80::1%25eth0]",
    "a public address with a zone id": "[2606:4700:4700::1111%25eth0]",
    "five parts": "127.0.0.0.1",
    "a version of the future": "[v1.127]",
}

# What it is → a host that is no host name and no address.
NO_HOSTS = {
    "percent-encoded dots": "127%2e0%2e0%2e1",
    "percent-encoded digits": "%31%32%37.0.0.1",
    "percent-encoded localhost": "%6cocalhost",
    "an encoded slash": "cdn.example%2f.evil.example",
    "an encoded at": "cdn.example%40127.0.0.1",
    "an encoded null": "127.0.0.1%00.cdn.example",
    "an encoded line break": "cdn.example%0d%0aHost:%20evil",
    "two dots": "cdn..example",
    "a leading dot": ".cdn.example",
    "a space": "cdn .example",
    "an ideographic space": "cdn.example\u3000",
    "a no-break space": "\u00a0127.0.0.1",
    "a comma": "127.0.0.1,cdn.example",
    "an address in brackets": "[127.0.0.1]",
    "IPv6 without its bracket": "[::1",
}


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


async def _redirected(host: str, internet: Internet) -> str:
    await internet.serve(sends(redirect(f"http://{host}/latest/meta-data/")))
    return "http://cdn.example/a.png"


def _behind_redirect(name: str, host: str, reason: Reason) -> Case:
    return Case(f"redirect to {name}", partial(_redirected, host), Status.NOT_AVAILABLE, reason)


async def _rebound(internet: Internet) -> str:
    """The first answer is public; when the server leads back to itself, the second is not."""
    internet.names.answers["rebinding.example"] = [[CDN], ["127.0.0.1"]]
    await internet.serve(sends(redirect("http://rebinding.example:443/secret")))
    await internet.serve(sends(http(png())), port=443)
    return "http://rebinding.example/a.png"


async def _rebound_too_late(internet: Internet) -> str:
    """The second answer is never asked for: the first one, which was checked, still holds."""
    internet.names.ttl_s = 0.0
    return await _rebound(internet)


CASES: tuple[Case, ...] = (
    *(
        url(f"URL with {what}", f"http://{_host(address)}/", Reason.ADDRESS_BLOCKED)
        for what, address in ADDRESSES.items()
    ),
    *(
        resolved(f"name that resolves to {what}", "inside.example", [[address]], Reason.ADDRESS_BLOCKED)
        for what, address in ADDRESSES.items()
    ),
    *(_behind_redirect(what, _host(address), Reason.ADDRESS_BLOCKED) for what, address in ADDRESSES.items()),
    *(
        url(f"address written with {what}", f"http://{host}/", Reason.ADDRESS_BLOCKED)
        for what, host in SPELLINGS.items()
    ),
    *(
        _behind_redirect(f"an address written with {what}", host, Reason.ADDRESS_BLOCKED)
        for what, host in SPELLINGS.items()
        if host.isascii()
    ),
    *(
        url(f"host written with {what}", f"http://{host}/", Reason.URL_INVALID)
        for what, host in NO_HOSTS.items()
    ),
    resolved(
        "name with a public and a private address",
        "mixed.example",
        [[CDN, "10.0.0.1"]],
        Reason.ADDRESS_BLOCKED,
    ),
    resolved(
        "name with a private IPv6 beside a public IPv4",
        "mixed.example",
        [[CDN, "fd00::1"]],
        Reason.ADDRESS_BLOCKED,
    ),
    resolved(
        "wildcard DNS with the address in the name",
        "127.0.0.1.nip.example",
        [["127.0.0.1"]],
        Reason.ADDRESS_BLOCKED,
    ),
    resolved(
        "name of the cloud's metadata",
        "metadata.google.internal",
        [["169.254.169.254"]],
        Reason.ADDRESS_BLOCKED,
    ),
    resolved("name with a trailing dot", "inside.example.", [["10.0.0.1"]], Reason.ADDRESS_BLOCKED),
    resolved(
        "DNS answer that is no address", "garbage.example", [["not-an-address"]], Reason.ADDRESS_BLOCKED
    ),
    url("name that does not exist", "http://missing.example/a.png", Reason.HOST_UNKNOWN),
    resolved("name without an address", "empty.example", [[]], Reason.HOST_UNKNOWN),
    Case("rebinding between two hops", _rebound, Status.NOT_AVAILABLE, Reason.ADDRESS_BLOCKED),
    Case("rebinding within an answer's lifetime", _rebound_too_late, Status.PREDICTED),
)

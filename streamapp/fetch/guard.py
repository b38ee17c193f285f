"""Which URLs and addresses may be reached: pure decisions, asked for every hop and every socket.

Where URLs come from strangers, the network that this worker stands in is what has to be guarded
(server-side request forgery). Three questions are asked, each by the one who can answer it:

1. `check_url`, before a request is made: scheme, port, credentials, host, literal addresses.
2. `address_refusal`, by the resolver, for every address that a name resolves to.
3. `address_refusal`, at the socket, for the address that is really connected to.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from yarl import URL

from streamapp.errors import FetchError
from streamapp.fetch.hosts import canonical_host, canonical_hosts, is_host_name, is_listed
from streamapp.reasons import Reason
from streamapp.settings import Settings

Address = IPv4Address | IPv6Address

URL_ERRORS = (ValueError, IndexError)
"""What yarl raises for a text that is no URL; an IndexError where brackets stand the wrong way round."""

_MAX_URL_CHARS = 8192
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
# How the WHATWG URL standard tells an IPv4 address from a name: by the last label alone.
_ENDS_IN_A_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")

# What `is_global` does not tell, or not in every Python release: some ranges changed sides since 3.11.
_BLOCKED_IPV4 = (
    IPv4Network("168.63.129.16/32"),  # Azure's own server inside each machine, at a public address
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
)
_IPV6_UNICAST = IPv6Network("2000::/3")
_BLOCKED_IPV6 = (
    IPv6Network("2001::/23"),  # IETF protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: carries any IPv4 address
    IPv6Network("3fff::/20"),  # documentation
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say of where files may come from; hosts in canonical form.

    Attributes:
        blocked_hosts: hosts that are never reached, whatever the other lists say; an address is blocked
            for every name that resolves to it. ``*.example.com`` matches every subdomain.
        allow_private_hosts: names or addresses that may be reached though private, on any port.
        allowed_hosts: if not empty, the only hosts; with the same wildcards.
        allowed_ports: ports of all hosts but the private ones.
    """

    blocked_hosts: frozenset[str] = frozenset()
    allow_private_hosts: frozenset[str] = frozenset()
    allowed_hosts: frozenset[str] = frozenset()
    allowed_ports: frozenset[int] = frozenset({80, 443})

    @classmethod
    def from_settings(cls, settings: Settings) -> "Rules":
        """The rules of the settings under "Fetch".

        Raises:
            SettingsError: one of the lists has something that is not a host.
        """
        return cls(
            blocked_hosts=canonical_hosts("blocked_hosts", settings.blocked_hosts),
            allow_private_hosts=canonical_hosts(
                "allow_private_hosts", settings.allow_private_hosts, with_wildcards=False
            ),
            allowed_hosts=canonical_hosts("allowed_hosts", settings.allowed_hosts),
            allowed_ports=frozenset(map(int, settings.allowed_ports)),
        )

    def is_blocked(self, host: str) -> bool:
        """Whether the operator named this host (or address) as one that is never to be reached."""
        return is_listed(host, self.blocked_hosts)

    def is_private_allowed(self, host: str) -> bool:
        """Whether the operator named this host (or address) as one that may be private."""
        return canonical_host(host) in self.allow_private_hosts

    def is_host_allowed(self, host: str) -> bool:
        """Whether the allow-list, if there is one, has this host; naming it as private is enough too."""
        return not self.allowed_hosts or is_listed(host, self.allowed_hosts) or self.is_private_allowed(host)


def parse_url(url: str) -> URL:
    """Read an absolute URL of any scheme.

    Raises:
        FetchError: url_invalid; ``attempts`` is 0.
    """
    if not url or len(url) > _MAX_URL_CHARS or _CONTROL_CHARACTER.search(url):
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} is not a URL.")
    try:
        parsed = URL(url)
        # Not only the constructor raises: some parts are decoded when they are read, and what stands in
        # brackets is first read when it is written anew.
        _ = parsed.host, parsed.port, parsed.user, parsed.password, URL(str(parsed))
    except URL_ERRORS as exc:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} is not a URL: {exc}.") from exc
    if not parsed.scheme:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} is not an absolute URL.")
    return parsed


def check_url(url: str | URL, rules: Rules) -> URL:
    """Make sure that a request for a URL may be made.

    The URL that comes back is the one to request: what was checked and what is asked for can't differ.
    One that comes parsed is not written anew: a signed one would no longer be what was signed.

    Raises:
        FetchError: url_invalid, url_scheme, url_credentials, host_blocked, address_blocked,
            host_not_allowed or url_port; ``attempts`` is 0.
    """
    parsed = _checked_form(parse_url(url) if isinstance(url, str) else url)
    host = _checked_host(parsed, rules)
    if not rules.is_host_allowed(host):
        raise _refusal(Reason.HOST_NOT_ALLOWED, f"The host {host!r} is not on the list of allowed hosts.")
    port = parsed.port
    if port not in rules.allowed_ports and not rules.is_private_allowed(host):
        raise _refusal(Reason.URL_PORT, f"The port {port} is not allowed.")
    return parsed


def address_refusal(address: str, rules: Rules, host: str | None = None) -> Reason | None:
    """Why no connection to this address may be opened; None where one may.

    Args:
        address: as the resolver or the socket has it.
        host: the name that was resolved, if any; one that may be private vouches for its addresses.
    """
    if rules.is_blocked(address):
        return Reason.HOST_BLOCKED
    if host is not None and rules.is_private_allowed(host):
        return None
    try:
        parsed = ip_address(address)
    except ValueError:
        return Reason.ADDRESS_BLOCKED
    is_allowed = is_public_address(parsed) or rules.is_private_allowed(address)
    return None if is_allowed else Reason.ADDRESS_BLOCKED


def is_public_address(address: Address) -> bool:
    """Whether an address is on the public internet, whatever it may be wrapped in.

    An IPv4-mapped address is what it maps. Addresses that tunnel or translate to an IPv4 address (6to4,
    Teredo, NAT64, IPv4-compatible) are all refused: looking inside would have to know each scheme, and
    no picture is served from there. So are addresses with a zone id, which names an interface of ours.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address.ipv4_mapped is not None:
            return is_public_address(address.ipv4_mapped)
        if address not in _IPV6_UNICAST or any(address in network for network in _BLOCKED_IPV6):
            return False
    elif any(address in network for network in _BLOCKED_IPV4):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _checked_form(url: URL) -> URL:
    """The URL without its fragment, refused where it is no HTTP URL of a host."""
    shown = f"{str(url)!r:.80}"
    if url.scheme not in ("http", "https"):
        raise _refusal(Reason.URL_SCHEME, f"The scheme {url.scheme!r:.20} is not http or https.")
    # Two empty ones ("http://:@…") are neither a user nor a password to yarl.
    if "@" in url.raw_authority:
        raise _refusal(Reason.URL_CREDENTIALS, "The URL carries a user name or a password.")
    if url.port is None or not url.raw_host:
        raise _refusal(Reason.URL_INVALID, f"{shown} names no host.")
    return url.with_fragment(None)


def _checked_host(url: URL, rules: Rules) -> str:
    """The URL's host in canonical form, refused where it is blocked or a literal address that is private."""
    raw_host = url.raw_host or ""
    host = canonical_host(raw_host)
    if ":" not in raw_host and not is_host_name(host):
        raise _refusal(Reason.URL_INVALID, f"{raw_host!r:.80} is not a host name.")
    if rules.is_blocked(host):
        raise _refusal(Reason.HOST_BLOCKED, f"The host {host!r} is on the list of blocked hosts.")
    if ":" in raw_host or _ENDS_IN_A_NUMBER.fullmatch(host):
        # Parsers disagree on 2130706433, 0x7f.1 or 010.0.0.1; `ip_address` reads none of them, so that
        # they are refused whatever they stand for.
        is_allowed = address_refusal(raw_host if ":" in raw_host else host, rules) is None
    else:
        is_local_name = host == "localhost" or host.endswith(".localhost")
        is_allowed = not is_local_name or rules.is_private_allowed(host)
    if not is_allowed:
        raise _refusal(Reason.ADDRESS_BLOCKED, f"{raw_host!r} is not an address on the public internet.")
    return host


def _refusal(reason: Reason, message: str) -> FetchError:
    return FetchError(reason, message, attempts=0)

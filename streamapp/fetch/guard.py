"""Which URLs and addresses may be reached: pure decisions, asked for every hop and every socket.

Where URLs come from strangers, the network that this worker stands in is what has to be guarded
(server-side request forgery). Three questions are asked, each by the one who can answer it:

1. `check_url`, before a request is made: scheme, port, credentials, host, literal addresses.
2. `is_allowed_address`, by the resolver, for every address that a name resolves to.
3. `is_allowed_address`, at the socket, for the address that is really connected to.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from yarl import URL

from streamapp.errors import FetchError
from streamapp.reasons import Reason
from streamapp.settings import Settings

Address = IPv4Address | IPv6Address

_MAX_URL_CHARS = 8192
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
# An underscore is no host-name character, but CDN names with one exist and resolve.
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# How the WHATWG URL standard tells an IPv4 address from a name: by the last label alone.
_ENDS_IN_A_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")

# `is_global` alone would depend on the Python release: these ranges changed sides since 3.11.
_BLOCKED_IPV4 = (
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
    """What the settings say of where files may come from; host names in canonical form.

    Attributes:
        allow_private_hosts: names or addresses that may be reached though private, on any port.
        allowed_hosts: if not empty, the only hosts; ``*.example.com`` matches every subdomain.
        allowed_ports: ports of all hosts but the private ones.
    """

    allow_private_hosts: frozenset[str] = frozenset()
    allowed_hosts: frozenset[str] = frozenset()
    allowed_ports: frozenset[int] = frozenset({80, 443})

    @classmethod
    def from_settings(cls, settings: Settings) -> "Rules":
        """The rules of the settings under "Fetch"."""
        return cls(
            allow_private_hosts=frozenset(map(canonical_host, settings.allow_private_hosts)),
            allowed_hosts=frozenset(map(canonical_host, settings.allowed_hosts)),
            allowed_ports=frozenset(map(int, settings.allowed_ports)),
        )

    def is_private_allowed(self, host: str) -> bool:
        """Whether the operator named this host (or address) as one that may be private."""
        return canonical_host(host) in self.allow_private_hosts

    def is_host_allowed(self, host: str) -> bool:
        """Whether the allow-list, if there is one, has this host; naming it as private is enough too."""
        host = canonical_host(host)
        if not self.allowed_hosts or host in self.allowed_hosts or host in self.allow_private_hosts:
            return True
        labels = host.split(".")
        return any("*." + ".".join(labels[i:]) in self.allowed_hosts for i in range(1, len(labels)))


def check_url(url: str, rules: Rules) -> URL:
    """Parse a URL and make sure that a request for it may be made.

    The URL that comes back is the one to request: what was checked and what is asked for can't differ.

    Raises:
        FetchError: url_invalid, url_scheme, url_credentials, address_blocked, host_not_allowed or
            url_port; ``attempts`` is 0.
    """
    parsed = _parse(url)
    host = _checked_host(parsed, rules)
    if not rules.is_host_allowed(host):
        raise _refusal(Reason.HOST_NOT_ALLOWED, f"The host {host!r} is not on the list of allowed hosts.")
    port = parsed.port
    if port not in rules.allowed_ports and not rules.is_private_allowed(host):
        raise _refusal(Reason.URL_PORT, f"The port {port} is not allowed.")
    return parsed


def is_allowed_address(address: str, rules: Rules, host: str | None = None) -> bool:
    """Whether a connection to this address may be opened.

    Args:
        address: as the resolver or the socket has it.
        host: the name that was resolved, if any; one that may be private vouches for its addresses.
    """
    if host is not None and rules.is_private_allowed(host):
        return True
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return is_public_address(parsed) or rules.is_private_allowed(address)


def is_public_address(address: Address) -> bool:
    """Whether an address is on the public internet, whatever it may be wrapped in.

    An IPv4-mapped address is what it maps. Addresses that tunnel or translate to an IPv4 address (6to4,
    Teredo, NAT64, IPv4-compatible) are all refused: looking inside would have to know each scheme, and
    no picture is served from there. So are addresses with a zone id, which names an interface of ours.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public_address(address.ipv4_mapped)
        is_plain = address in _IPV6_UNICAST and address.scope_id is None
        if not is_plain or any(address in network for network in _BLOCKED_IPV6):
            return False
    elif any(address in network for network in _BLOCKED_IPV4):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def canonical_host(host: str) -> str:
    """The form in which hosts are compared: lower case, no trailing dot, no brackets, short IPv6."""
    host = host.strip().lower().removesuffix(".")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _parse(url: str) -> URL:
    if not url or len(url) > _MAX_URL_CHARS or _CONTROL_CHARACTER.search(url):
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} is not a URL.")
    try:
        parsed = URL(url)
        # Not only the constructor raises: some parts are decoded when they are read.
        scheme, _, port = parsed.scheme, parsed.host, parsed.port
        has_credentials = parsed.user is not None or parsed.password is not None
    except ValueError as exc:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} is not a URL: {exc}.") from exc
    if not scheme:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} is not an absolute URL.")
    if scheme not in ("http", "https"):
        raise _refusal(Reason.URL_SCHEME, f"The scheme {scheme!r:.20} is not http or https.")
    if has_credentials:
        raise _refusal(Reason.URL_CREDENTIALS, "The URL carries a user name or a password.")
    if port is None or not parsed.raw_host:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} names no host.")
    return parsed.with_fragment(None)


def _checked_host(url: URL, rules: Rules) -> str:
    """The URL's host in canonical form, refused where it is a literal that must not be reached."""
    raw_host = url.raw_host or ""
    host = canonical_host(raw_host)
    if ":" in raw_host:
        is_allowed = is_allowed_address(raw_host, rules)
    elif not _HOST_NAME.fullmatch(host):
        raise _refusal(Reason.URL_INVALID, f"{raw_host!r:.80} is not a host name.")
    elif _ENDS_IN_A_NUMBER.fullmatch(host):
        # Parsers disagree on 2130706433, 0x7f.1 or 010.0.0.1; `ip_address` reads none of them, so that
        # they are refused whatever they stand for.
        is_allowed = is_allowed_address(host, rules)
    else:
        is_local_name = host == "localhost" or host.endswith(".localhost")
        is_allowed = not is_local_name or rules.is_private_allowed(host)
    if not is_allowed:
        raise _refusal(Reason.ADDRESS_BLOCKED, f"{raw_host!r} is not an address on the public internet.")
    return host


def _refusal(reason: Reason, message: str) -> FetchError:
    return FetchError(reason, message, attempts=0)

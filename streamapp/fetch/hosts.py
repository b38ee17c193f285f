"""Host names and addresses in one form, and lists of them."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from yarl import URL

from streamapp.errors import SettingsError

# An underscore is no host-name character, but CDN names with one exist and resolve.
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# Of as many characters as a URL may have: 4 MB at the most.
_MOST_HOSTS_KEPT = 256


# A download asks for the same host's form some ten times: a tenth of its whole CPU time.
@lru_cache(_MOST_HOSTS_KEPT)
def canonical_host(host: str) -> str:
    """The form in which hosts are compared: lower case, no trailing dot, no brackets, short IPv6.

    An internationalized name is compared in the form that DNS knows (``xn--…``), to which the digits and
    dots of other scripts are mapped as well.

    Raises:
        ValueError: the text has characters that no host can have.
    """
    host = host.lower().removesuffix(".")
    if not host.isascii():
        host = (URL.build(scheme="http", host=host).raw_host or "").removesuffix(".")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def is_host_name(host: str) -> bool:
    """Whether a canonical host has the form of a DNS name, which dotted digits have too."""
    return _HOST_NAME.fullmatch(host) is not None


def canonical_hosts(setting: str, names: Iterable[str], *, with_wildcards: bool = True) -> frozenset[str]:
    """A setting's hosts in canonical form.

    Args:
        setting: its name, for the error.
        names: host names, addresses, or ``*.`` and a host name.
        with_wildcards: whether the setting has wildcards at all.

    Raises:
        SettingsError: one of them is not a host. It would never match, and so leave a hole.
    """
    return frozenset(_canonical(setting, name, with_wildcards) for name in names)


def is_listed(host: str, names: frozenset[str]) -> bool:
    """Whether a list in canonical form has this host; ``*.example.com`` has every subdomain."""
    if not names:
        return False
    host = canonical_host(host)
    if host in names:
        return True
    labels = host.split(".")
    return any("*." + ".".join(labels[i:]) in names for i in range(1, len(labels)))


def _canonical(setting: str, name: str, with_wildcards: bool) -> str:
    wildcard = "*." if with_wildcards and name.startswith("*.") else ""
    try:
        host = canonical_host(name.removeprefix(wildcard))
    except ValueError:
        host = ""
    if not (is_host_name(host) or (":" in host and not wildcard and _is_address(host))):
        kinds = "a host name, an address or *.name" if with_wildcards else "a host name or an address"
        raise SettingsError(f"{name!r:.80} in {setting} is not {kinds}; write no scheme, port or path.")
    return wildcard + host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

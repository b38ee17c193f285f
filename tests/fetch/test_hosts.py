"""One form for hosts, and lists of them."""

import pytest

from streamapp.fetch.hosts import canonical_host, canonical_hosts, is_listed


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("CDN.Example.COM.", "cdn.example.com"),
        ("[0:0::1]", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example.", "xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("１２７。0。0。1", "127.0.0.1"),  # noqa: RUF001 - full-width digits
    ],
)
def test_hosts_are_compared_in_one_form(written: str, compared: str) -> None:
    assert canonical_host(written) == compared


def test_what_no_host_can_be_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ValueError):
            canonical_host("exa\u2100mple")


def test_a_flood_of_hosts_fills_no_memory() -> None:
    for number in range(2000):
        canonical_host(f"host-{number}.example")
    assert canonical_host.cache_info().currsize <= 256


def test_a_wildcard_has_the_subdomains_and_not_the_domain() -> None:
    names = canonical_hosts("allowed_hosts", ["*.Example.com", "cdn.example.net"])
    assert is_listed("a.example.com", names)
    assert is_listed("a.b.EXAMPLE.com.", names)
    assert is_listed("cdn.example.net", names)
    for host in ("example.com", "badexample.com", "a.example.com.evil.example", "a.cdn.example.net"):
        assert not is_listed(host, names)

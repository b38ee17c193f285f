"""Which URLs and addresses are refused."""

import pytest

from streamapp.errors import FetchError
from streamapp.fetch.guard import Rules, canonical_host, check_url, is_allowed_address
from streamapp.reasons import Reason
from streamapp.settings import Settings

PUBLIC = Rules()


def reason_of(url: str, rules: Rules = PUBLIC) -> Reason:
    with pytest.raises(FetchError) as caught:
        check_url(url, rules)
    assert caught.value.attempts == 0
    assert not caught.value.is_retriable
    return caught.value.reason


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "①②⑦.0.0.1",
        "127。0。0。1",  # full stops that IDNA maps to dots
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "134744072",
        "08.8.8.8",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[3fff::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[::1%25lo]",
        "[2606:4700::1111%25eth0]",
        "[fec0::1]",
        "[ff02::1]",
    ],
)
def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    assert reason_of(f"http://{host}/a.png") is Reason.ADDRESS_BLOCKED


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", Reason.URL_INVALID),
        ("a.png", Reason.URL_INVALID),
        ("//cdn.example.com/a.png", Reason.URL_INVALID),
        ("http:///a.png", Reason.URL_INVALID),
        ("http://[::1/a.png", Reason.URL_INVALID),
        ("http://exa mple.com/", Reason.URL_INVALID),
        ("http://127%2e0.0.1/", Reason.URL_INVALID),
        ("http://a..example.com/", Reason.URL_INVALID),
        ("http://" + "a" * 64 + ".example.com/", Reason.URL_INVALID),
        ("http://" + "a." * 130 + "com/", Reason.URL_INVALID),
        ("http://cdn.example.com\n.evil.example/", Reason.URL_INVALID),
        ("http://cdn.example.com\\@127.0.0.1/", Reason.URL_INVALID),
        ("http://cdn.example.com:99999/", Reason.URL_INVALID),
        ("http://cdn.example.com:http/", Reason.URL_INVALID),
        ("http://cdn.example.com/" + "a" * 9000, Reason.URL_INVALID),
        ("file:///etc/passwd", Reason.URL_SCHEME),
        ("ftp://cdn.example.com/a.png", Reason.URL_SCHEME),
        ("gopher://cdn.example.com/", Reason.URL_SCHEME),
        ("data:image/png;base64,AAAA", Reason.URL_SCHEME),
        ("http://user:secret@cdn.example.com/", Reason.URL_CREDENTIALS),
        ("http://user@cdn.example.com/", Reason.URL_CREDENTIALS),
        ("http://:secret@cdn.example.com/", Reason.URL_CREDENTIALS),
        ("http://cdn.example.com:22/", Reason.URL_PORT),
        ("http://cdn.example.com:0/", Reason.URL_PORT),
    ],
)
def test_a_url_that_is_wrong_is_refused_with_its_reason(url: str, reason: Reason) -> None:
    assert reason_of(url) is reason


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example.com/a.png",
        "https://cdn.example.com:443/a.png?size=1#top",
        "http://8.8.8.8/a.png",
        "http://[2606:4700:4700::1111]/a.png",
        "http://[::ffff:8.8.8.8]/a.png",
        "https://münchen.example/bild ä.png",
        "http://my_bucket.example.com/a.png",
        "HTTPS://CDN.EXAMPLE.COM./a.png",
    ],
)
def test_an_ordinary_url_passes(url: str) -> None:
    checked = check_url(url, PUBLIC)
    assert not checked.fragment
    # What is requested is checked once more on redirects: it has to read the same.
    assert str(check_url(str(checked), PUBLIC)) == str(checked)


def test_an_allow_list_refuses_every_other_host() -> None:
    rules = Rules(allowed_hosts=frozenset({"cdn.example.com", "*.pictures.example"}))
    assert check_url("https://CDN.example.com./a.png", rules)
    assert check_url("https://a.b.pictures.example/a.png", rules)
    for host in ("example.com", "pictures.example", "evilpictures.example", "cdn.example.com.evil.example"):
        assert reason_of(f"https://{host}/a.png", rules) is Reason.HOST_NOT_ALLOWED


def test_an_allow_list_does_not_open_private_addresses() -> None:
    rules = Rules(allowed_hosts=frozenset({"127.0.0.1"}))
    assert reason_of("http://127.0.0.1/a.png", rules) is Reason.ADDRESS_BLOCKED


def test_a_named_private_host_may_be_reached_on_any_port_and_others_may_not() -> None:
    rules = Rules.from_settings(Settings(allow_private_hosts=("MinIO.", "127.0.0.1", "[::1]")))
    assert check_url("http://minio:9000/a.png", rules)
    assert check_url("http://minio.:9000/a.png", rules)
    assert check_url("http://127.0.0.1:8000/a.png", rules)
    assert check_url("http://[::ffff:127.0.0.1]:8000/a.png", rules)
    assert check_url("http://[::1]:8000/a.png", rules)
    assert reason_of("http://127.0.0.2:8000/a.png", rules) is Reason.ADDRESS_BLOCKED
    assert reason_of("http://2130706433:8000/a.png", rules) is Reason.ADDRESS_BLOCKED
    assert reason_of("http://sub.minio:9000/a.png", rules) is Reason.URL_PORT


def test_only_a_named_host_vouches_for_its_private_addresses() -> None:
    rules = Rules(allow_private_hosts=frozenset({"minio", "10.1.1.1"}))
    assert is_allowed_address("10.0.0.7", rules, "minio")
    assert is_allowed_address("10.1.1.1", rules, "cdn.example.com")
    assert not is_allowed_address("10.0.0.7", rules, "cdn.example.com")
    assert not is_allowed_address("10.0.0.7", rules)
    assert not is_allowed_address("not an address", rules)


def test_hosts_are_compared_in_one_form() -> None:
    assert canonical_host("CDN.Example.COM.") == "cdn.example.com"
    assert canonical_host("[0:0::1]") == "::1"
    assert canonical_host("::ffff:10.0.0.1") == "10.0.0.1"

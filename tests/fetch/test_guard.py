"""Which URLs and addresses are refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from streamapp.errors import FetchError, SettingsError
from streamapp.fetch.guard import Rules, address_refusal, check_url
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
        "0.1.2.3",
        "①②⑦.0.0.1",
        "１２７.0.0.1",  # noqa: RUF001 - full-width digits
        "127。0。0。1",  # full stops that IDNA maps to dots
        "127．0．0．1",  # noqa: RUF001 - full-width full stops
        "ⓛocalhost",
        "10.0.0.1",
        "100.64.0.1",
        "168.63.129.16",
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
        "[64:ff9b:1:ffff::8.8.8.8]",
        "[::8.8.8.8]",
        "[2001::1]",
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
        "[::ffff:8.8.8.8%25eth0]",
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
        ("http://cdn.example.com\u3000/", Reason.URL_INVALID),
        ("http://\xa0cdn.example.com/", Reason.URL_INVALID),
        ("http://]@[@", Reason.URL_INVALID),
        ("http://[::1::]/", Reason.URL_INVALID),
        ("https://[https:http:]#{", Reason.URL_INVALID),
        ("http://127%2e0.0.1/", Reason.URL_INVALID),
        ("http://%31%32%37.0.0.1/", Reason.URL_INVALID),
        ("http://localhost%00.example.com/", Reason.URL_INVALID),
        ("http://169.254.169.254../", Reason.URL_INVALID),
        ("http:cdn.example.com/a.png", Reason.URL_INVALID),
        ("http:\\\\127.0.0.1/", Reason.URL_INVALID),
        ("s3://bucket/a.png", Reason.URL_SCHEME),
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
        ("http://:@cdn.example.com/", Reason.URL_CREDENTIALS),
        ("http://127.0.0.1:80@cdn.example.com/", Reason.URL_CREDENTIALS),
        ("http://a@b@cdn.example.com/", Reason.URL_CREDENTIALS),
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


URL_PARTS = (
    *("[", "]", "@", ":", "::", "/", "//", "\\", "#", "?", "%", "%00", ".", "=", "+", "127.0.0.1"),
    *("cdn.example", "xn--", "é", "１"),  # noqa: RUF001 - a full-width digit
)


@given(st.lists(st.sampled_from(URL_PARTS)))
def test_any_text_is_a_url_that_reads_the_same_again_or_is_refused(parts: list[str]) -> None:
    with suppress(FetchError):
        checked = check_url("http://" + "".join(parts), PUBLIC)
        assert check_url(str(checked), PUBLIC) == checked


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
    assert address_refusal("10.0.0.7", rules, "minio") is None
    assert address_refusal("10.1.1.1", rules, "cdn.example.com") is None
    assert address_refusal("10.0.0.7", rules, "cdn.example.com") is Reason.ADDRESS_BLOCKED
    assert address_refusal("10.0.0.7", rules) is Reason.ADDRESS_BLOCKED
    assert address_refusal("not an address", rules) is Reason.ADDRESS_BLOCKED


BLOCKING = Rules.from_settings(
    Settings(
        blocked_hosts=("Bad.example", "*.ads.example", "203.0.114.5", "2606:4700::bad", "*.münchen.example"),
        allowed_hosts=("bad.example", "*.example", "203.0.114.5"),
        allow_private_hosts=("bad.example", "localhost", "good.example"),
    )
)


@pytest.mark.parametrize(
    "url",
    [
        "http://bad.example/a.png",
        "https://BAD.example./a.png",
        "http://bad.example:9000/",
        "http://ｂad.example/",  # noqa: RUF001 - a full-width b, which IDNA maps to the plain one
        "http://a.b.ads.example/",
        "http://203.0.114.5/",
        "http://[::ffff:203.0.114.5]/",
        "http://２０３.0.114.5/",  # noqa: RUF001 - full-width digits
        "http://[2606:4700:0::0bad]/",
        "http://www.münchen.example/",
        "http://www.xn--mnchen-3ya.example/",
    ],
)
def test_a_blocked_host_is_refused_whatever_the_other_lists_say(url: str) -> None:
    assert reason_of(url, BLOCKING) is Reason.HOST_BLOCKED


@pytest.mark.parametrize("host", ["ads.example", "notbad.example", "bad.example.example", "münchen.example"])
def test_a_blocked_host_blocks_no_other(host: str) -> None:
    assert check_url(f"http://{host}/a.png", BLOCKING)


def test_a_blocked_address_is_refused_for_every_name_that_resolves_to_it() -> None:
    for host in ("cdn.example", "good.example", None):
        assert address_refusal("203.0.114.5", BLOCKING, host) is Reason.HOST_BLOCKED
        assert address_refusal("::ffff:203.0.114.5", BLOCKING, host) is Reason.HOST_BLOCKED
    assert address_refusal("203.0.114.6", BLOCKING, "cdn.example") is None


@pytest.mark.parametrize("setting", ["blocked_hosts", "allowed_hosts", "allow_private_hosts"])
@pytest.mark.parametrize(
    "name", ["http://cdn.example.com", "cdn.example.com:443", "a b", "*", "*.", "10.0.0.0/8", "cdn..example"]
)
def test_a_list_with_something_that_can_match_no_host_is_an_error(setting: str, name: str) -> None:
    with pytest.raises(SettingsError, match=setting):
        Rules.from_settings(Settings(**{setting: (name,)}))


def test_a_host_that_may_be_private_is_named_without_wildcards() -> None:
    with pytest.raises(SettingsError, match="allow_private_hosts"):
        Rules.from_settings(Settings(allow_private_hosts=("*.internal.example",)))


def test_a_url_that_comes_parsed_is_checked_and_not_written_anew() -> None:
    signed = "https://bucket.s3.amazonaws.com/a%2Bb%20c.png?X-Amz-Credential=A%2FB%2Fs3"
    assert str(check_url(URL(signed, encoded=True), PUBLIC)) == signed
    with pytest.raises(FetchError):
        check_url(URL("https://10.0.0.1/a.png", encoded=True), PUBLIC)

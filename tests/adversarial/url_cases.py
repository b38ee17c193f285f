"""URLs that are none, or that ask for what is not served here."""

from typing import Any

from adversarial.cases import Case, url

from streamapp.reasons import Reason

_LISTS: dict[str, Any] = {"allowed_hosts": ("cdn.example", "*.pictures.example")}
_BLOCK: dict[str, Any] = {
    "blocked_hosts": ("evil.example", "*.evil.example", "9.9.9.9", "xn--bcher-kva.example")
}

CASES: tuple[Case, ...] = (
    url("a relative URL", "a.png", Reason.URL_INVALID),
    url("a URL without a scheme", "//cdn.example/a.png", Reason.URL_INVALID),
    url("a URL without a host", "http:///a.png", Reason.URL_INVALID),
    url("a URL of a scheme alone", "http:", Reason.URL_INVALID),
    url("a URL of blanks", "   ", Reason.URL_INVALID),
    url("a line break in the host", "http://cdn.example\r\nHost: evil/", Reason.URL_INVALID),
    url("a null in the path", "http://cdn.example/a\0.png", Reason.URL_INVALID),
    url("a tab in the scheme", "ht\ttp://127.0.0.1/", Reason.URL_INVALID),
    url("a backslash for a slash", "http:\\\\127.0.0.1\\", Reason.URL_INVALID),
    url("a backslash before an at", "http://cdn.example\\@127.0.0.1/", Reason.URL_INVALID),
    url("a path of 9,000 characters", "http://cdn.example/" + "a" * 9000, Reason.URL_INVALID),
    url("a host of 300 characters", "http://" + "a." * 150 + "example/", Reason.URL_INVALID),
    url("a label of 64 characters", "http://" + "a" * 64 + ".example/", Reason.URL_INVALID),
    url("a port above 65535", "http://cdn.example:65616/", Reason.URL_INVALID),
    url("a port with a sign", "http://cdn.example:-80/", Reason.URL_INVALID),
    url("a port in letters", "http://cdn.example:http/", Reason.URL_INVALID),
    url("brackets in the wrong order", "http://]@[@", Reason.URL_INVALID),
    url("a scheme in brackets", "https://[https:http:]#{", Reason.URL_INVALID),
    url("file:", "file:///etc/passwd", Reason.URL_SCHEME),
    url("file: with a host", "file://127.0.0.1/etc/passwd", Reason.URL_SCHEME),
    url("ftp:", "ftp://cdn.example/a.png", Reason.URL_SCHEME),
    url("gopher:", "gopher://127.0.0.1:6379/_FLUSHALL", Reason.URL_SCHEME),
    url("data:", "data:image/png;base64,iVBORw0KGgo=", Reason.URL_SCHEME),
    url("javascript:", "javascript:alert(1)", Reason.URL_SCHEME),
    url("jar:", "jar:http://cdn.example/a.jar!/a.png", Reason.URL_SCHEME),
    url("ws:", "ws://cdn.example/a.png", Reason.URL_SCHEME),
    url("unix socket", "http+unix://%2fvar%2frun%2fdocker.sock/info", Reason.URL_SCHEME),
    url("user name", "http://cdn.example@93.184.215.14/", Reason.URL_CREDENTIALS),
    url("user name that reads as a host", "http://cdn.example:80@127.0.0.1/", Reason.URL_CREDENTIALS),
    url("password alone", "http://:secret@cdn.example/", Reason.URL_CREDENTIALS),
    url("two ats", "http://a@b@127.0.0.1/", Reason.URL_CREDENTIALS),
    url("port 22", "http://cdn.example:22/", Reason.URL_PORT),
    url("port 0", "http://cdn.example:0/", Reason.URL_PORT),
    url("Redis's port", "http://cdn.example:6379/", Reason.URL_PORT),
    url("port of another service on https", "https://cdn.example:8443/", Reason.URL_PORT),
    url("port 22 of a literal address", "http://93.184.215.14:22/", Reason.URL_PORT),
    url("host that is not on the allow-list", "http://other.example/", Reason.HOST_NOT_ALLOWED, **_LISTS),
    url(
        "allow-listed name as a prefix", "http://cdn.example.evil.example/", Reason.HOST_NOT_ALLOWED, **_LISTS
    ),
    url("allow-listed name as a suffix", "http://evilcdn.example/", Reason.HOST_NOT_ALLOWED, **_LISTS),
    url("wildcard's own name", "http://pictures.example/", Reason.HOST_NOT_ALLOWED, **_LISTS),
    url(
        "suffix of a wildcard without its dot",
        "http://evilpictures.example/",
        Reason.HOST_NOT_ALLOWED,
        **_LISTS,
    ),
    url(
        "allow-listed private address",
        "http://127.0.0.1/",
        Reason.ADDRESS_BLOCKED,
        allowed_hosts=("127.0.0.1",),
    ),
    url("host on the block-list", "http://evil.example/", Reason.HOST_BLOCKED, **_BLOCK),
    url("block-listed host in capitals with a dot", "http://EVIL.Example./", Reason.HOST_BLOCKED, **_BLOCK),
    url("subdomain of a blocked wildcard", "http://a.b.evil.example/", Reason.HOST_BLOCKED, **_BLOCK),
    url("block-listed address", "http://9.9.9.9/", Reason.HOST_BLOCKED, **_BLOCK),
    url("block-listed address, IPv4-mapped", "http://[::ffff:9.9.9.9]/", Reason.HOST_BLOCKED, **_BLOCK),
    url("block-listed IDN, in its own letters", "http://b\xfccher.example/", Reason.HOST_BLOCKED, **_BLOCK),
    url(
        "block-listed host in full-width letters",
        "http://\uff45\uff56\uff49\uff4c.example/",
        Reason.HOST_BLOCKED,
        **_BLOCK,
    ),
    url(
        "host on both lists",
        "http://evil.example/",
        Reason.HOST_BLOCKED,
        **{**_BLOCK, "allowed_hosts": ("evil.example",)},
    ),
    url("s3: without a list of buckets", "s3://bucket/key.png", Reason.URL_SCHEME),
    url(
        "s3: of a bucket that is not listed",
        "s3://other/key.png",
        Reason.HOST_NOT_ALLOWED,
        s3_buckets=("pictures",),
    ),
)

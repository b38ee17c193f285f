"""Why a picture got no verdict: the closed list behind PROVENANCE.reason."""

from enum import IntEnum, StrEnum


class Status(IntEnum):
    """The row's STATUS codes, those of the deployment that streamapp replaces."""

    PREDICTED = 0
    NOT_MEDIA = 1
    MODEL_RAISED = 4
    NO_KEY_FRAME = 5
    NOT_AVAILABLE = 403
    SWITCHED_OFF = -1


class Reason(StrEnum):
    """One code for each way in which an event ends without a prediction.

    The codes are part of the row's contract: codes are added, never renamed.
    """

    # The file can't be had: STATUS 403.
    URL_INVALID = "url_invalid"
    URL_SCHEME = "url_scheme"
    URL_PORT = "url_port"
    URL_CREDENTIALS = "url_credentials"
    HOST_NOT_ALLOWED = "host_not_allowed"
    HOST_BLOCKED = "host_blocked"
    HOST_UNKNOWN = "host_unknown"
    ADDRESS_BLOCKED = "address_blocked"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION_FAILED = "connection_failed"
    CIRCUIT_OPEN = "circuit_open"
    TLS_FAILED = "tls_failed"
    BAD_RESPONSE = "bad_response"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    TOO_LARGE = "too_large"

    # The bytes are no picture: STATUS 1.
    EMPTY_FILE = "empty_file"
    UNKNOWN_FORMAT = "unknown_format"
    BROKEN_FILE = "broken_file"
    POLYGLOT = "polyglot"
    TOO_MANY_PIXELS = "too_many_pixels"
    DECODE_TIMEOUT = "decode_timeout"
    DECODE_MEMORY = "decode_memory"
    DECODER_CRASHED = "decoder_crashed"

    # No frame to look at: STATUS 5.
    NO_KEY_FRAME = "no_key_frame"

    # The model did not answer: STATUS 4.
    MODEL_RAISED = "model_raised"
    MODEL_NOT_FINITE = "model_not_finite"

    @property
    def status(self) -> Status:
        """The STATUS that a row with this reason carries."""
        return _STATUS.get(self, Status.NOT_AVAILABLE)

    @property
    def sentence(self) -> str:
        """What happened, in words for an analyst."""
        return _SENTENCES[self]


_STATUS = {
    Reason.EMPTY_FILE: Status.NOT_MEDIA,
    Reason.UNKNOWN_FORMAT: Status.NOT_MEDIA,
    Reason.BROKEN_FILE: Status.NOT_MEDIA,
    Reason.POLYGLOT: Status.NOT_MEDIA,
    Reason.TOO_MANY_PIXELS: Status.NOT_MEDIA,
    Reason.DECODE_TIMEOUT: Status.NOT_MEDIA,
    Reason.DECODE_MEMORY: Status.NOT_MEDIA,
    Reason.DECODER_CRASHED: Status.NOT_MEDIA,
    Reason.NO_KEY_FRAME: Status.NO_KEY_FRAME,
    Reason.MODEL_RAISED: Status.MODEL_RAISED,
    Reason.MODEL_NOT_FINITE: Status.MODEL_RAISED,
}

_SENTENCES = {
    Reason.URL_INVALID: "The event's image URL is not a URL.",
    Reason.URL_SCHEME: "The URL's scheme is not http or https.",
    Reason.URL_PORT: "The URL names a port that is not allowed.",
    Reason.URL_CREDENTIALS: "The URL carries a user name or a password.",
    Reason.HOST_NOT_ALLOWED: "The URL's host is not on the list of allowed hosts.",
    Reason.HOST_BLOCKED: "The URL's host is on the list of blocked hosts.",
    Reason.HOST_UNKNOWN: "The URL's host name does not resolve.",
    Reason.ADDRESS_BLOCKED: "The URL leads to an address that is not on the public internet.",
    Reason.NOT_FOUND: "The server has no such file.",
    Reason.REFUSED: "The server refused the request.",
    Reason.RATE_LIMITED: "The host gets no more requests at this rate, by its own wish or by the limit set.",
    Reason.SERVER_ERROR: "The server failed until the retries were used up.",
    Reason.TIMEOUT: "The server was too slow until the retries were used up.",
    Reason.CONNECTION_FAILED: "The connection failed until the retries were used up.",
    Reason.CIRCUIT_OPEN: "The host failed so often that it is not asked for a while.",
    Reason.TLS_FAILED: "The server's certificate or TLS handshake is not valid.",
    Reason.BAD_RESPONSE: "The server's answer breaks the HTTP protocol.",
    Reason.TOO_MANY_REDIRECTS: "The URL redirects too often.",
    Reason.TOO_LARGE: "The file has more bytes than are allowed.",
    Reason.EMPTY_FILE: "The file has no bytes.",
    Reason.UNKNOWN_FORMAT: "The file's bytes are no picture or video that is read here.",
    Reason.BROKEN_FILE: "The file begins like a picture or video and can't be decoded.",
    Reason.POLYGLOT: "The file is a picture and something else at once.",
    Reason.TOO_MANY_PIXELS: "The picture has more pixels than are allowed.",
    Reason.DECODE_TIMEOUT: "Decoding took longer than is allowed.",
    Reason.DECODE_MEMORY: "Decoding took more memory than is allowed.",
    Reason.DECODER_CRASHED: "The decoder crashed on the file.",
    Reason.NO_KEY_FRAME: "No frame could be taken from the file.",
    Reason.MODEL_RAISED: "A model failed on this picture.",
    Reason.MODEL_NOT_FINITE: "A model answered with numbers that are not finite.",
}

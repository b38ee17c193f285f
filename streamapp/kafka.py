"""How the broker is reached: one place that turns the settings into what aiokafka and Faust want."""

import ssl
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from faust.auth import SASLCredentials, SSLCredentials

from streamapp.errors import SettingsError
from streamapp.settings import Settings

LOGIN_REFUSALS = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)
# TLS alerts by which a broker refuses the client's certificate or the lack of one. With TLS 1.3 they come in
# place of the first answer: aiokafka then tells of a closed connection, whose cause the alert is.
CERTIFICATE_REFUSALS = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for aiokafka's producers, consumers and admin clients."""
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.brokers.split(",")],
        "client_id": settings.group,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol != "PLAINTEXT":
        options["ssl_context"] = _ssl_context(settings)
    if settings.security_protocol == "SASL_SSL":
        username, password = _sasl_login(settings)
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = username
        options["sasl_plain_password"] = password
    return options


def faust_broker_url(settings: Settings) -> list[str]:
    """Faust's spelling of the bootstrap servers."""
    return [f"kafka://{server.strip()}" for server in settings.brokers.split(",")]


def faust_credentials(settings: Settings) -> SASLCredentials | SSLCredentials | None:
    """Faust's spelling of the credentials; None for plaintext.

    An SSL context always goes along: without one Faust falls back to plaintext, silently.
    """
    if settings.security_protocol == "PLAINTEXT":
        return None
    if settings.security_protocol == "SSL":
        return SSLCredentials(_ssl_context(settings))
    username, password = _sasl_login(settings)
    return SASLCredentials(
        username=username,
        password=password,
        mechanism=settings.sasl_mechanism,
        ssl_context=_ssl_context(settings),
    )


def require_login(settings: Settings, errors: Iterable[BaseException]) -> None:
    """Make sure that none of these errors of a connection is the broker's refusal of login or certificate.

    Waiting does not mend that, as it may mend what else keeps a connection from being made.

    Raises:
        SettingsError: one is; names user and mechanism, or the certificate.
    """
    for error in _with_causes(errors):
        if isinstance(error, LOGIN_REFUSALS):
            raise SettingsError(
                f"The broker at {settings.brokers} refuses the login of {settings.sasl_username!r} by "
                f"{settings.sasl_mechanism}: {error}. Look at STREAMAPP_SASL_USERNAME, "
                "STREAMAPP_SASL_PASSWORD and STREAMAPP_SASL_MECHANISM, and at what the broker knows of that "
                "user."
            ) from error
        if isinstance(error, ssl.SSLError) and error.reason in CERTIFICATE_REFUSALS:
            raise SettingsError(_certificate_refusal(settings, error.reason)) from error


def advice(settings: Settings, errors: Iterable[BaseException]) -> str:
    """Which setting to look at, where these errors of a connection point at one; else empty."""
    for error in _with_causes(errors):
        if isinstance(error, ssl.SSLCertVerificationError):
            return "Look at STREAMAPP_SSL_CA_FILE, and at the names in the broker's certificate."
        if isinstance(error, (EOFError, ConnectionResetError, ssl.SSLError)):
            return f"It hung up: does it take STREAMAPP_SECURITY_PROTOCOL={settings.security_protocol} there?"
    return ""


def _with_causes(errors: Iterable[BaseException]) -> Iterator[BaseException]:
    """The errors, each with those that it was raised from behind it."""
    for error in errors:
        cause: BaseException | None = error
        while cause is not None:
            yield cause
            cause = cause.__cause__


def _certificate_refusal(settings: Settings, reason: str) -> str:
    alert = reason.partition("_ALERT_")[2].replace("_", " ").lower()
    broker = f"The broker at {settings.brokers}"
    if settings.ssl_cert_file is None:
        return (
            f"{broker} wants a client certificate ({alert}): set STREAMAPP_SSL_CERT_FILE and "
            "STREAMAPP_SSL_KEY_FILE."
        )
    return (
        f"{broker} refuses the client certificate of STREAMAPP_SSL_CERT_FILE {settings.ssl_cert_file}: "
        f"{alert}. Look at its dates, and whether the broker trusts who signed it."
    )


def _sasl_login(settings: Settings) -> tuple[str, str]:
    if settings.sasl_username is None or settings.sasl_password is None:
        raise SettingsError("SASL_SSL needs STREAMAPP_SASL_USERNAME and STREAMAPP_SASL_PASSWORD.")
    return settings.sasl_username, settings.sasl_password.get_secret_value()


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
    except OSError as exc:
        raise SettingsError(f"STREAMAPP_SSL_CA_FILE {settings.ssl_ca_file} can't be used: {exc}.") from exc
    if settings.ssl_cert_file is not None:
        # Always a password: without one OpenSSL asks for it on the terminal, and the worker hangs there.
        password = settings.ssl_key_password.get_secret_value() if settings.ssl_key_password else ""
        try:
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, lambda: password)
        except (OSError, ValueError) as exc:
            raise SettingsError(
                f"STREAMAPP_SSL_CERT_FILE {settings.ssl_cert_file} with STREAMAPP_SSL_KEY_FILE "
                f"{settings.ssl_key_file} can't be used: {exc}."
            ) from exc
    return context

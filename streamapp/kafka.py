"""How the broker is reached: one place that turns the settings into what aiokafka and Faust want."""

import ssl
from collections.abc import Iterable
from typing import Any

from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from faust.auth import SASLCredentials, SSLCredentials

from streamapp.errors import SettingsError
from streamapp.settings import Settings

LOGIN_REFUSALS = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError)


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
    """Make sure that none of these errors of a connection is the broker's refusal of the login.

    Waiting does not mend that, as it may mend what else keeps a connection from being made.

    Raises:
        SettingsError: one is; names user and mechanism.
    """
    refusal = next((error for error in errors if isinstance(error, LOGIN_REFUSALS)), None)
    if refusal is not None:
        raise SettingsError(
            f"The broker at {settings.brokers} refuses the login of {settings.sasl_username!r} by "
            f"{settings.sasl_mechanism}: {refusal}. Look at STREAMAPP_SASL_USERNAME, STREAMAPP_SASL_PASSWORD "
            "and STREAMAPP_SASL_MECHANISM, and at what the broker knows of that user."
        ) from refusal


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

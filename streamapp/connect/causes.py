"""Why a connector or a task has failed, in plain words: the root cause of its trace, and what to do."""

import re
from dataclasses import dataclass

_MAX_CHARACTERS = 600
_CAUSED_BY = "Caused by: "
# As Java writes it, or as Snowflake does inside a message.
_FRAME = re.compile(r"\s*(at |\.\.\. \d+ more|[\w./$]+\([\w.]+:\d+\))")
_EXCEPTION = re.compile(r"^(?:[\w$]+\.)+([\w$]+): ?")


@dataclass(frozen=True, slots=True)
class _KnownCause:
    """A failure that others had before.

    Attributes:
        pattern: found anywhere in the trace.
        meaning: of it.
        remedy: what to do.
    """

    pattern: re.Pattern[str]
    meaning: str
    remedy: str


def _known(pattern: str, meaning: str, remedy: str) -> _KnownCause:
    return _KnownCause(re.compile(pattern, re.IGNORECASE), meaning, remedy)


# The first that fits is told: the special before the general.
_KNOWN_CAUSES = (
    _known(
        r"(NoClassDefFound|ClassNotFound).*bouncycastle",
        "BouncyCastle is not in the connector's plugin folder",
        "put bcpkix-fips, bc-fips and bcutil-fips there, as connect/plugins/snowflake/pom.xml has them",
    ),
    _known(
        r"Module \S*Blackbird\S* not a subtype|BlackbirdModule not a subtype",
        "a second Jackson is in the connector's plugin folder",
        "delete jackson-core, -databind and -annotations from it: the worker has its own",
    ),
    _known(
        r"UnsatisfiedLinkError",
        "a native library of the connector can't be loaded here",
        "run Connect on a glibc image (not Alpine), as connect/Dockerfile does, with a writable /tmp",
    ),
    _known(
        r"Error Code: 0018|Invalid encrypted private key or passphrase",
        "the private key is encrypted, and its passphrase is missing or wrong",
        "give the key without one (openssl pkcs8 -topk8 -nocrypt), or set snowflake.private.key.passphrase",
    ),
    _known(
        r"Error Code: 0002|Invalid private key|InvalidKeySpec|InvalidKeyException|ExtInvalidKey",
        "the private key is no PKCS#8 key in PEM, or its file is not there",
        "put it at /run/secrets/snowflake/snowflake_key.p8 of the Connect worker; make it PKCS#8 by "
        "openssl pkcs8 -topk8 -nocrypt -in old.pem -out snowflake_key.p8",
    ),
    _known(
        r"JWT token is invalid|390144|incorrect username or password|390100",
        "Snowflake does not take the key for this user",
        "compare the user's RSA_PUBLIC_KEY_FP (DESC USER) with the key's; SNOWFLAKE_USER; SNOWFLAKE_URL",
    ),
    _known(
        r"(Topic|Group|Cluster|TransactionalId)AuthorizationException",
        "the broker does not let Connect do this",
        "allow its user READ on the results topic and the group connect-<name>, and CREATE and WRITE on the "
        "dead-letter topic",
    ),
    _known(
        r"Error Code: 1005|insufficient privileges|does not exist or not authorized|authorization error",
        "the role may not do this in Snowflake",
        "run the grants of connect/snowflake/0-account.sql, and compare SNOWFLAKE_ROLE",
    ),
    _known(
        r"Error Code: 0034|Table .*does not exist|Error Code: 2014",
        "the table is not there",
        "run connect/snowflake/1-table.sql; compare SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA with where it is",
    ),
    _known(
        r"validate\.compatibility\.with\.classic",
        "version 4 takes this for a move from version 2 or 3, and wants it confirmed",
        "set snowflake.streaming.validate.compatibility.with.classic to false; to move: connect/README.md",
    ),
    _known(
        r"Error Code: 1001|Failed to connect to Snowflake",
        "Snowflake can't be reached",
        "compare SNOWFLAKE_URL (account.region.snowflakecomputing.com), and let the worker out to port 443",
    ),
    _known(
        r'password authentication failed for user|role ".*" does not exist',
        "PostgreSQL does not take this user or password",
        "compare WAREHOUSE_USER and WAREHOUSE_PASSWORD with the server's",
    ),
    _known(
        r'relation "\w+" does not exist|Could not find table|table .*landing.* does not exist',
        "the landing table is not there",
        "run connect/postgres/1-landing.sql in the database that WAREHOUSE_JDBC_URL names",
    ),
    _known(
        r"terminating connection due to|57P0[123]|the database system is (starting up|shutting down)"
        r"|I/O error occurred while sending to the backend|This connection has been closed"
        r"|Unable to (commit|rollback) against JDBC",
        "the database went away, by a restart say",
        "nothing is lost: when it is back, restart the connector",
    ),
    _known(
        r"PSQLException.*(refused|attempt failed|timed? ?out)|UnknownHostException|Unable to acquire JDBC"
        r"|Connections could not be acquired",
        "the database can't be reached",
        "compare WAREHOUSE_JDBC_URL, and see that the server runs and takes connections from the worker",
    ),
    _known(
        r"InvalidReplicationFactorException|replication factor.*larger than available brokers",
        "there are fewer brokers than replicas asked for the dead-letter topic",
        "set CONNECT_REPLICATION_FACTOR to the number of brokers at most",
    ),
    _known(
        r"SaslAuthenticationException|SslAuthenticationException|SSLHandshakeException",
        "the broker and Connect do not agree on who they are",
        "compare CONNECT_SECURITY_PROTOCOL, CONNECT_SASL_MECHANISM and CONNECT_SASL_JAAS_CONFIG with the "
        "broker's listener",
    ),
    _known(
        r"Converting byte\[\] to Kafka Connect data failed|Tolerance exceeded in error handler",
        "a record can't be read as the converter expects it",
        "set errors.tolerance to all, so that it goes to the dead-letter topic, and look at it there",
    ),
    _known(
        r"OutOfMemoryError",
        "the worker's heap is too small",
        "raise the container's memory limit, or lower tasks.max and consumer.override.max.poll.records",
    ),
)


def root_cause(trace: str) -> str:
    """The innermost exception of a Java stack trace: its short name and its message, on one line."""
    innermost = trace.rpartition(_CAUSED_BY)[2]
    lines: list[str] = []
    for line in innermost.splitlines():
        if _FRAME.match(line):
            break
        lines.append(line.strip())
    text = " ".join(line for line in lines if line)
    text = _EXCEPTION.sub(lambda match: f"{match[1]}: ", text)
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"


def explain(trace: str) -> str:
    """A failure in plain words: what it means and what to do where it is a known one, and the root cause."""
    cause = root_cause(trace)
    for known in _KNOWN_CAUSES:
        if known.pattern.search(trace):
            return f"{known.meaning}: {known.remedy}. ({cause})"
    return f"{cause} The whole trace is in the Connect worker's log."

"""Stack traces in plain words."""

import pytest

from streamapp.connect.causes import explain, root_cause

TRACE = """\
org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.
\tat org.apache.kafka.connect.runtime.WorkerSinkTask.deliverMessages(WorkerSinkTask.java:658)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: org.apache.kafka.connect.errors.ConnectException: JDBC sink connector failure
\tat io.debezium.connector.jdbc.JdbcSinkConnectorTask.put(JdbcSinkConnectorTask.java:157)
\t... 11 more
Caused by: {cause}
\tat org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2734)
\t... 20 more
"""
# As version 2.5.0 wrote it: frames without "at" inside of the message.
INVALID_KEY = """\
com.snowflake.internal.SnowflakeKafkaConnectorException: [SF_KAFKA_CONNECTOR] Exception: Invalid private key
Error Code: 0002
Detail: private key should be a valid PEM RSA private key
Message: java.security.InvalidKeyException: IOException : null
java.base/sun.security.rsa.RSAKeyFactory.engineGeneratePrivate(RSAKeyFactory.java:253)
com.snowflake.kafka.connector.internal.InternalUtils.parsePrivateKey(InternalUtils.java:86)
"""


def test_the_root_cause_is_the_innermost_with_its_message_and_no_frames() -> None:
    assert root_cause(TRACE.format(cause="java.net.ConnectException: Connection refused")) == (
        "ConnectException: Connection refused"
    )
    assert root_cause(INVALID_KEY).endswith("Message: java.security.InvalidKeyException: IOException : null")


def test_a_message_of_several_lines_becomes_one() -> None:
    cause = 'org.postgresql.util.PSQLException: ERROR: relation "landing" does not exist\n  Position: 13'
    assert root_cause(TRACE.format(cause=cause)) == (
        'PSQLException: ERROR: relation "landing" does not exist Position: 13'
    )


def test_a_long_message_is_cut() -> None:
    assert len(root_cause(f"a.B: {'x' * 5000}")) == 600


def test_an_empty_trace_raises_nothing() -> None:
    assert root_cause("") == ""


@pytest.mark.parametrize(
    ("cause", "meaning"),
    [
        ("java.lang.NoClassDefFoundError: org/bouncycastle/jce/provider/X", "BouncyCastle is not in"),
        ("java.util.ServiceConfigurationError: X: BlackbirdModule not a subtype", "a second Jackson is in"),
        ("java.lang.UnsatisfiedLinkError: /tmp/lib.so: ld-linux", "a native library"),
        ("x.Y: Invalid encrypted private key or passphrase Error Code: 0018", "the private key is encrypted"),
        (INVALID_KEY, "the private key is no PKCS#8 key in PEM"),
        ("net.x.SnowflakeSQLException: JWT token is invalid. [0ce9eb56]", "does not take the key"),
        ("x.Y: Task failed due to authorization error Error Code: 1005", "the role may not do this"),
        ("x.Y: SQL access control error: Insufficient privileges to operate", "the role may not do this"),
        ("x.Y: table does not exist Error Code: 0034", "the table is not there"),
        ("x.Y: snowflake.streaming.validate.compatibility.with.classic is enabled but", "version 4 takes"),
        ("x.Y: Failed to connect to Snowflake Server Error Code: 1001", "Snowflake can't be reached"),
        ('x.PSQLException: FATAL: password authentication failed for user "streamapp"', "does not take this"),
        ('x.PSQLException: ERROR: relation "landing" does not exist', "the landing table is not there"),
        ("x.PSQLException: Connection to db:5432 refused. Check that", "the database can't be reached"),
        ("x.Y: FATAL: terminating connection due to administrator command", "the database went away"),
        # As the sink of 3.5.0 fails where PostgreSQL ends in the middle of its work.
        (
            "org.postgresql.util.PSQLException: An I/O error occurred while sending to the backend.\n"
            "Caused by: java.net.SocketException: Connection reset",
            "the database went away",
        ),
        (
            "org.hibernate.TransactionException: Unable to rollback against JDBC Connection\n"
            "Caused by: org.postgresql.util.PSQLException: This connection has been closed.",
            "the database went away",
        ),
        (
            "org.hibernate.exception.GenericJDBCException: Unable to acquire JDBC Connection\n"
            "Caused by: org.postgresql.util.PSQLException: FATAL: the database system is starting up",
            "the database went away",
        ),
        ("org.apache.kafka.common.errors.InvalidReplicationFactorException: Unable", "fewer brokers"),
        ("org.apache.kafka.common.errors.TopicAuthorizationException: Not authorized", "the broker does not"),
        ("org.apache.kafka.common.errors.SaslAuthenticationException: failed", "do not agree on who"),
        ("x.DataException: Converting byte[] to Kafka Connect data failed due to", "a record can't be read"),
        ("java.lang.OutOfMemoryError: Java heap space", "the worker's heap is too small"),
    ],
)
def test_a_known_cause_is_told_with_what_to_do(cause: str, meaning: str) -> None:
    told = explain(TRACE.format(cause=cause))
    assert meaning in told
    assert told.endswith(f"({root_cause(TRACE.format(cause=cause))})")


def test_an_unknown_cause_is_told_as_it_is() -> None:
    assert explain(TRACE.format(cause="a.b.Odd: very")) == (
        "Odd: very The whole trace is in the Connect worker's log."
    )

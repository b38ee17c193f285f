"""The jars of the image: connect/fetch-jars.sh, and the digests that it holds them against."""

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from connect_worker import CONNECT, PLUGINS, plugin_folder, runtime_folder

from streamapp.local.kafka.jars import kafka_version

TIMEOUT_S = 300


def digests(folder: Path) -> dict[str, str]:
    jars = [path for path in sorted(folder.glob("*.jar")) if path.name != "manifest.jar"]
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars}


def listed(source: Path) -> dict[str, str]:
    lines = [line.split("  ") for line in (source / "jars.sha256").read_text().splitlines()]
    return {name: digest for digest, name in lines}


def test_the_lists_hold_exactly_the_jars_that_the_poms_bring(connect_program: None) -> None:
    assert listed(CONNECT / "runtime") == digests(runtime_folder())
    for name in ("jdbc", "snowflake-v2"):
        assert listed(CONNECT / "plugins" / name) == digests(plugin_folder(name)), name


def test_the_broker_connect_and_the_pages_name_one_version_of_kafka() -> None:
    connect, (plugin, _) = CONNECT / "runtime/pom.xml", PLUGINS["file"]
    assert f"<kafka.version>{kafka_version()}</kafka.version>" in connect.read_text()
    assert f"<version>{kafka_version()}</version>" in (plugin / "pom.xml").read_text()
    for page in (CONNECT / "README.md", CONNECT.parent / "README.md"):
        assert set(re.findall(r"Apache Kafka(?: Connect)? ([\d.]+\d)", page.read_text())) == {kafka_version()}


def test_version_4_has_the_same_bouncycastle_as_version_2() -> None:
    two = listed(CONNECT / "plugins/snowflake-v2")
    assert listed(CONNECT / "plugins/snowflake") == {
        name: digest for name, digest in two.items() if name.startswith("bc")
    }


def test_no_jar_of_the_jdbc_plugin_is_one_that_fails_its_tasks() -> None:
    jars = listed(CONNECT / "plugins/jdbc")
    assert any(name.startswith("postgresql-") for name in jars)
    bad = ("jackson-core", "jackson-databind", "jackson-annotations", "connect-api", "kafka-clients", "slf4j")
    bad += ("mysql", "mariadb", "mssql", "ojdbc", "lz4", "snappy", "zstd")
    assert [name for name in jars if name.startswith(bad)] == []


@pytest.fixture
def small(connect_program: None, tmp_path: Path) -> Path:
    """connect/ with one small jar in place of the worker's and of each plugin's."""
    folder = tmp_path / "connect"
    source, _ = PLUGINS["file"]
    jars = digests(plugin_folder("file"))
    for part in ("runtime", "plugins/snowflake"):
        (folder / part).mkdir(parents=True)
        shutil.copy(source / "pom.xml", folder / part)
        text = "".join(f"{digest}  {name}\n" for name, digest in jars.items())
        (folder / part / "jars.sha256").write_text(text)
    shutil.copytree(CONNECT / "plugins/snowflake/META-INF", folder / "plugins/snowflake/META-INF")
    shutil.copy(CONNECT / "fetch-jars.sh", folder)
    return folder


def fetch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["./fetch-jars.sh", "jars", *arguments]
    # Maven runs for a second or two: not worth Java's second compiler.
    environment = os.environ | {"MAVEN_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def test_the_jars_and_the_manifest_are_put_where_the_worker_looks(small: Path) -> None:
    done = fetch(small, "", "snowflake")
    assert done.returncode == 0, done.stderr
    assert list(digests(small / "jars/runtime")) == list(listed(small / "runtime"))
    with zipfile.ZipFile(small / "jars/plugins/snowflake/manifest.jar") as manifest:
        text = manifest.read("META-INF/services/org.apache.kafka.connect.sink.SinkConnector")
    assert text.strip() == b"com.snowflake.kafka.connector.SnowflakeStreamingSinkConnector"


def test_a_jar_with_another_digest_stops_the_build(small: Path) -> None:
    path = small / "runtime/jars.sha256"
    path.write_text("0" * 64 + path.read_text()[64:])
    done = fetch(small, "", "snowflake")
    assert done.returncode != 0
    assert "FAILED" in done.stdout + done.stderr
    assert not (small / "jars/plugins").exists()

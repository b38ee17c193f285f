"""Finding Java and fetching the jars, with programs that only play their parts."""

import subprocess
import sys
from pathlib import Path

import pytest

from streamapp.errors import BrokerError
from streamapp.local.kafka.jars import fetch_jars, find_java, kafka_version

FETCH = """
import sys
from pathlib import Path
from streamapp.local.kafka.jars import fetch_jars
print(fetch_jars(Path(sys.argv[1])))
"""

# Takes the folder from Maven's argument, and notes that it was called.
COPY = """
for argument; do case $argument in -DoutputDirectory=*) folder=${argument#*=};; esac; done
echo called >> "$(dirname "$0")/calls"
mkdir "$folder" && echo jar > "$folder/kafka.jar"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of programs that is searched, but for the shell's own; empty at first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


def java_of_version(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2025-04-15' >&2"


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.2", "25-ea"])
def test_java_17_and_later_are_taken(programs: Path, version: str) -> None:
    write_program(programs / "java", java_of_version(version))
    assert find_java() == str(programs / "java")


@pytest.mark.parametrize(("version", "told"), [("11.0.2", "11"), ("1.8.0_412", "8"), ("16.0.1", "16")])
def test_an_older_java_is_told_with_what_to_install(programs: Path, version: str, told: str) -> None:
    write_program(programs / "java", java_of_version(version))
    with pytest.raises(BrokerError, match=rf"needs Java 17 or later, and .*java is version {told}. Install"):
        find_java()


def test_no_java_is_told_with_what_to_install(programs: Path) -> None:
    with pytest.raises(BrokerError, match=r"there is no java on the PATH. Install a Java 17 runtime"):
        find_java()


def test_java_home_goes_before_the_path(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(programs / "java", java_of_version("11.0.2"))
    write_program(tmp_path / "home/bin/java", java_of_version("17.0.15"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find_java() == str(tmp_path / "home/bin/java")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(BrokerError, match=r"no java in JAVA_HOME \(.*nowhere\)"):
        find_java()


def test_a_java_that_does_not_run_is_told(programs: Path) -> None:
    write_program(programs / "java", "echo 'Unable to locate a Java Runtime.' >&2; exit 1")
    with pytest.raises(BrokerError, match=r"does not run: 'Unable to locate a Java Runtime\.'"):
        find_java()


def test_the_jars_are_fetched_once_and_then_need_no_maven(programs: Path, tmp_path: Path) -> None:
    cache, said = tmp_path / "cache", list[str]()
    write_program(programs / "mvn", COPY)
    folder = fetch_jars(cache, say=said.append)
    (programs / "mvn").unlink()
    assert fetch_jars(cache, say=said.append) == folder
    assert (folder / "kafka.jar").exists()
    assert [f"Apache Kafka {kafka_version()}" in text for text in said] == [True]


def test_two_that_start_at_once_fetch_once(programs: Path, tmp_path: Path) -> None:
    write_program(programs / "mvn", COPY)
    command = [sys.executable, "-c", FETCH, str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(folders) == 1
    assert (programs / "calls").read_text().splitlines() == ["called"]


def test_what_an_interrupted_fetch_left_is_not_used(programs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    write_program(programs / "mvn", COPY + "exit 1")
    with pytest.raises(BrokerError):
        fetch_jars(cache)
    write_program(programs / "mvn", COPY.replace("kafka.jar", "complete.jar"))
    assert [path.name for path in fetch_jars(cache).iterdir()] == ["complete.jar"]


def test_no_maven_is_told_with_what_to_install(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"no mvn on the PATH. Install it \(Debian: apt install maven"):
        fetch_jars(tmp_path / "cache")


def test_a_maven_that_fails_is_told_with_its_first_error_and_its_log(programs: Path, tmp_path: Path) -> None:
    write_program(
        programs / "mvn", "echo '[INFO] a'; echo '[ERROR] Unknown host'; echo '[ERROR] more'; exit 1"
    )
    with pytest.raises(BrokerError, match=r"it ended with exit code 1. Unknown host\n.*maven.log") as caught:
        fetch_jars(tmp_path / "cache")
    assert "more" not in str(caught.value)


def test_a_cache_that_can_not_be_written_is_told(programs: Path, tmp_path: Path) -> None:
    write_program(programs / "mvn", COPY)
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match="can't be written"):
        fetch_jars(tmp_path / "file")

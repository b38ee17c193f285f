"""connect/README.md: its commands do what they say, its names exist."""

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from connect_worker import CONNECT
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from streamapp.cli import group

README = (CONNECT / "README.md").read_text()
COMMANDS = [line.strip().removeprefix("$ ") for line in README.splitlines() if line.strip().startswith("$ ")]
TIMEOUT_S = 60


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on the PATH")
def test_the_key_pair_is_made_by_its_commands(tmp_path: Path) -> None:
    commands = [command for command in COMMANDS if command.startswith("openssl ")]
    assert len(commands) == 3
    _, line, fingerprint = [
        subprocess.run(
            command, shell=True, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=TIMEOUT_S
        ).stdout
        for command in commands
    ]
    private = (tmp_path / "snowflake_key.p8").read_bytes()
    assert private.startswith(b"-----BEGIN PRIVATE KEY-----")
    public = load_pem_private_key(private, None).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # As Snowflake's statement wants it: between quotes, without a line break.
    assert line == base64.b64encode(der).decode() + "\n"
    assert fingerprint == base64.b64encode(hashlib.sha256(der).digest()).decode() + "\n"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on the PATH")
def test_an_old_key_is_made_pkcs8_by_its_command(tmp_path: Path) -> None:
    make = ["openssl", "genrsa", "-traditional", "-out", "old.pem", "2048"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True, timeout=TIMEOUT_S)
    assert b"BEGIN RSA PRIVATE KEY" in (tmp_path / "old.pem").read_bytes()
    found = re.search(r"`(openssl pkcs8 [^`]+)`", README)
    assert found is not None
    subprocess.run(found[1], shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=TIMEOUT_S)
    assert (tmp_path / "snowflake_key.p8").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


def test_its_streamapp_commands_and_their_files_exist() -> None:
    commands = {command.partition("   #")[0] for command in COMMANDS if command.startswith("streamapp ")}
    commands |= set(re.findall(r"`(streamapp connect [^`]+)`", README))
    assert len(commands) >= 5
    connect = group.get_command(click.Context(group), "connect")
    assert isinstance(connect, click.Group)
    for command in commands:
        _, _, name, *arguments = command.split()
        assert name in connect.commands, command
        for argument in arguments:
            if argument.endswith(".json"):
                assert (CONNECT.parent / argument).is_file(), command


def test_its_files_and_variables_exist() -> None:
    for path in re.findall(r"`((?:snowflake|postgres|plugins|runtime)/[\w./-]*)`", README):
        assert (CONNECT / path).exists(), path
    known = "".join(path.read_text() for path in [CONNECT / "worker.properties", *CONNECT.glob("*.json")])
    table = README[README.index("## The worker") :]
    for name in re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE):
        assert f"${{env:{name}}}" in known, name


def test_its_reasons_are_of_properties_that_the_file_has() -> None:
    start = README.index("### Why `snowflake.json`")
    part = README[start : README.index("## Names are for ever")]
    file = (CONNECT / "snowflake.json").read_text()
    rows = re.findall(r"^\| `([a-z0-9.]+)`(?: = ([\w:]+))? \|", part, re.MULTILINE)
    assert len(rows) >= 8
    for key, value in rows:
        assert f'"{key}": "{value}' in file, key

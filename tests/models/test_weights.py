import hashlib
from pathlib import Path

import pytest

from streamapp.errors import WeightsError
from streamapp.models import weights
from streamapp.models.weights import WeightsFile, package_file, require_file

CONTENT = b"weights" * 100_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def require(path: Path, expected_sha256: str | None = SHA256) -> WeightsFile:
    return require_file(
        path, what="The test weights", how_to_get="run `make weights`", expected_sha256=expected_sha256
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(CONTENT)
    return path


def test_the_expected_file_is_accepted(file: Path) -> None:
    assert require(file) == WeightsFile(file, SHA256)


def test_a_file_without_a_pinned_digest_is_accepted_and_its_digest_recorded(file: Path) -> None:
    file.write_bytes(b"mine")
    assert require(file, expected_sha256=None).sha256 == hashlib.sha256(b"mine").hexdigest()


def test_one_changed_byte_is_refused_with_both_digests(file: Path) -> None:
    changed = b"W" + CONTENT[1:]
    file.write_bytes(changed)
    with pytest.raises(WeightsError) as caught:
        require(file)
    message = str(caught.value)
    for part in ("The test weights", str(file), SHA256, hashlib.sha256(changed).hexdigest(), "make weights"):
        assert part in message


def test_a_file_that_stays_as_it_is_is_hashed_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    hash_file = weights._hash
    monkeypatch.setattr(weights, "_hash", lambda path: hashed.append(path) or hash_file(path))
    monkeypatch.setattr(weights, "SETTLED_AFTER_S", 0.0)
    assert require(file) == require(file)
    assert hashed == [file]
    file.write_bytes(b"another size")
    with pytest.raises(WeightsError, match="is another file"):
        require(file)


def test_a_file_that_has_just_changed_is_hashed_again_though_its_times_are_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_identity", lambda found: (found.st_size,))
    for content in (b"one", b"two"):
        file.write_bytes(content)
        assert require(file, None).sha256 == hashlib.sha256(content).hexdigest()


def test_a_missing_file_is_named_with_its_place_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    with pytest.raises(WeightsError) as caught:
        require(path)
    for part in ("The test weights", str(path), "make weights"):
        assert part in str(caught.value)


def test_a_folder_in_the_file_s_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="can't be read"):
        require(tmp_path)


def test_a_package_s_file_is_found_without_importing_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package_that_can_t_be_imported"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_file(package.name, "net.onnx", how_to_get="run pip") == package / "net.onnx"


def test_a_package_that_is_not_installed_is_named_with_what_to_do() -> None:
    with pytest.raises(WeightsError, match=r"net\.onnx.*no_such_package.*run pip"):
        package_file("no_such_package", "net.onnx", how_to_get="run pip")

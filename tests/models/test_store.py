"""The store on disk: the lock file, where a file is looked for, and what is said if it can't be used."""

import errno
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from streamapp.errors import WeightsError
from streamapp.models.store import State, Store, find_artifact, load_lock, needed_artifacts
from streamapp.models.store.cache import (
    Receipt,
    cached_path,
    lock_cache,
    place,
    require_room,
    sweep_parts,
    translated_errors,
)
from streamapp.models.store.lock import Artifact
from streamapp.settings import Settings

SHA256 = re.compile("[0-9a-f]{64}")
CONTENT = b"weights of the company"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def store(tmp_path: Path, **settings: object) -> Store:
    return Store(Settings.model_validate({"model_cache": tmp_path / "cache", **settings}))


def put(
    tmp_path: Path, name: str, content: bytes, *, receipt: bool = True, source_sha256: str | None = None
) -> Path:
    """Put a file into the cache, as a fetch would, or as a person would."""
    path = cached_path(tmp_path / "cache", find_artifact(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not receipt:
        path.write_bytes(content)
        return path
    part = path.with_name("new.part")
    part.write_bytes(content)
    place(part, path, Receipt(sha256(content), "s3://models/key", source_sha256 or sha256(content)))
    return path


# The lock file


@pytest.mark.parametrize("artifact", load_lock().values(), ids=lambda a: a.name)
def test_every_artifact_is_described_and_pinned(artifact: Artifact) -> None:
    sources = [artifact.package, artifact.bucket, artifact.hub, artifact.wheel]
    assert any(sources)
    assert artifact.title
    assert artifact.licence
    assert all(SHA256.fullmatch(digest) for digest in artifact.pinned_sha256s)
    assert artifact.pinned_sha256s or artifact.sha256_setting
    if artifact.hub is not None:
        assert re.fullmatch("[0-9a-f]{40}", artifact.hub.revision)
        assert artifact.hub.file.endswith(".safetensors")
    if artifact.wheel is not None:
        assert SHA256.fullmatch(artifact.wheel.sha256)
    if artifact.bucket is not None and artifact.bucket.torchscript:
        assert SHA256.fullmatch(artifact.bucket.sha256 or "")


def test_the_settings_that_the_lock_file_names_exist() -> None:
    named = {a.setting for a in load_lock().values()} | {a.sha256_setting for a in load_lock().values()}
    assert named - {None} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({"models": "nudenet"}, ["nudenet"]),
        ({"models": "mfd"}, ["mfd-palm", "mfd-landmark"]),
        ({"models": "clip"}, ["clip-vit-b-16"]),
        ({"models": "clip,coop"}, ["clip-vit-b-16"]),
        ({"models": "clip", "clip_model": "ViT-B/32/openai"}, ["clip-vit-b-32"]),
        ({"models": "clip", "clip_model": "tiny"}, []),
        ({"models": "clip", "clip_model": "ViT-B-16/laion2b_s34b_b88k"}, []),
        ({"models": "clip,coop", "clip_weights": "own.safetensors"}, []),
        ({"models": "clip,coop", "clip_weights": "own.safetensors", "coop_model": "ViT-B/16"}, []),
        ({"models": "clip,coop", "clip_model": "ViT-B-32"}, ["clip-vit-b-32", "clip-vit-b-16"]),
        ({"models": "coop", "coop_clip_weights": "own.safetensors"}, []),
        ({"models": "coop", "coop_weights": "own.pth"}, ["clip-vit-b-16", "coop"]),
        ({"models": "coop", "ai_model_bucket": "models"}, ["clip-vit-b-16", "coop"]),
        ({"models": "coop", "ai_model_bucket": "models", "coop_model": "tiny"}, []),
    ],
)
def test_what_the_models_that_are_on_need(settings: dict[str, str], needed: list[str]) -> None:
    models = tuple(settings["models"].split(","))
    others = {name: value for name, value in settings.items() if name != "models"}
    built = Settings.model_validate(others).model_copy(update={"models": models})
    assert list(needed_artifacts(built)) == needed
    assert set(needed) <= set(load_lock())


def test_a_slip_of_the_pen_in_the_lock_file_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="sha265"):
        msgspec.convert({"title": "t", "file": "f", "licence": "l", "sha265": "0"}, Artifact)


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'mfd'.*mfd-palm"):
        store(tmp_path).locate("mfd")


# Locating


def test_the_user_s_own_path_comes_first_and_may_hold_any_file(tmp_path: Path) -> None:
    put(tmp_path, "mfd-palm", b"never looked at")
    own = tmp_path / "own.tflite"
    own.write_bytes(CONTENT)
    file = store(tmp_path, mfd_palm_weights=own).locate("mfd-palm")
    assert (file.path, file.sha256) == (own, sha256(CONTENT))


def test_a_missing_own_file_is_named_with_its_setting_and_the_command(tmp_path: Path) -> None:
    own = tmp_path / "gone.tflite"
    with pytest.raises(WeightsError, match=r"STREAMAPP_MFD_PALM_WEIGHTS.*models fetch mfd-palm") as caught:
        store(tmp_path, mfd_palm_weights=own).locate("mfd-palm")
    assert str(own) in str(caught.value)


def test_a_package_s_file_needs_no_cache(tmp_path: Path) -> None:
    assert store(tmp_path).locate("nudenet").sha256 == find_artifact("nudenet").sha256
    assert not (tmp_path / "cache").exists()


def test_a_missing_file_is_one_sentence_with_place_and_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        store(tmp_path).locate("mfd-palm")
    message = str(caught.value)
    assert message.count(". ") == 0
    place_looked_at = str(tmp_path / "cache" / "mfd-palm" / "palm_detection_full.tflite")
    for part in ("MediaPipe's palm detector", place_looked_at, "`streamapp models fetch mfd-palm`"):
        assert part in message


def test_a_cached_file_that_is_not_the_pinned_one_is_refused_with_both_digests(tmp_path: Path) -> None:
    path = put(tmp_path, "mfd-palm", CONTENT)
    with pytest.raises(WeightsError, match="is another file") as caught:
        store(tmp_path).locate("mfd-palm")
    for part in (str(path), sha256(CONTENT), find_artifact("mfd-palm").sha256 or "", "models fetch mfd-palm"):
        assert part in str(caught.value)


def test_an_unpinned_file_is_accepted_by_the_digest_of_its_fetch_and_by_no_other(tmp_path: Path) -> None:
    path = put(tmp_path, "coop", CONTENT)
    assert store(tmp_path).locate("coop").sha256 == sha256(CONTENT)
    path.write_bytes(b"W" + CONTENT[1:])
    with pytest.raises(WeightsError, match=f"not {sha256(CONTENT)}"):
        store(tmp_path).locate("coop")


def test_an_unpinned_file_without_a_receipt_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "coop", CONTENT, receipt=False)
    with pytest.raises(WeightsError, match=r"no receipt.*models fetch coop"):
        store(tmp_path).locate("coop")


def test_a_pinned_digest_in_the_settings_counts_more_than_a_receipt(tmp_path: Path) -> None:
    put(tmp_path, "coop", CONTENT)
    assert store(tmp_path, coop_sha256=sha256(CONTENT).upper()).locate("coop").sha256 == sha256(CONTENT)
    with pytest.raises(WeightsError, match=f"{sha256(CONTENT)} and not {'0' * 64}"):
        store(tmp_path, coop_sha256="0" * 64).locate("coop")


def test_what_an_older_lock_file_pinned_is_not_accepted_by_its_receipt(tmp_path: Path) -> None:
    # From the hub's former commit, or converted from the bucket's former archive.
    put(tmp_path, "clip-vit-b-16", CONTENT)
    with pytest.raises(WeightsError, match="is another file") as caught:
        store(tmp_path).locate("clip-vit-b-16")
    assert find_artifact("clip-vit-b-16").hub.sha256 in str(caught.value)  # type: ignore[union-attr]


def test_what_was_converted_from_the_pinned_archive_is_accepted_by_its_receipt(tmp_path: Path) -> None:
    archive_sha256 = find_artifact("clip-vit-b-16").converted_from_sha256
    assert archive_sha256 is not None
    put(tmp_path, "clip-vit-b-16", CONTENT, source_sha256=archive_sha256)
    assert store(tmp_path).locate("clip-vit-b-16").sha256 == sha256(CONTENT)


def test_all_files_that_are_missing_are_one_sentence_with_their_places_and_the_command(
    tmp_path: Path,
) -> None:
    names = ("nudenet", "mfd-palm", "mfd-landmark", "clip-vit-b-16")
    with pytest.raises(WeightsError) as caught:
        store(tmp_path).require(names)
    message = str(caught.value)
    assert message.startswith("3 model files are missing")
    for name in names[1:]:
        assert str(cached_path(tmp_path / "cache", find_artifact(name))) in message
    assert "`streamapp models fetch`" in message
    assert message.count(". ") == 0


def test_one_file_that_is_missing_is_told_by_its_name(tmp_path: Path) -> None:
    store(tmp_path).require(["nudenet"])
    with pytest.raises(WeightsError, match="`streamapp models fetch mfd-palm`"):
        store(tmp_path).require(["nudenet", "mfd-palm"])


def test_a_file_put_by_hand_is_accepted_where_the_lock_file_pins_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = msgspec.structs.replace(find_artifact("mfd-palm"), sha256=sha256(CONTENT))
    monkeypatch.setattr("streamapp.models.store.store.find_artifact", lambda name: pinned)
    put(tmp_path, "mfd-palm", CONTENT, receipt=False)
    standing = store(tmp_path).look("mfd-palm")
    assert (standing.state, standing.source) == (State.HERE, "put there by hand")


def test_locating_imports_no_client_of_any_source() -> None:
    script = (
        "import sys; from streamapp.models.store import Store; from streamapp.settings import Settings\n"
        "Store(Settings()).locate('nudenet'); print('boto3' in sys.modules, 'huggingface_hub' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["False", "False"], run.stderr


# The cache


def test_parts_are_swept_but_for_the_one_that_is_kept(tmp_path: Path) -> None:
    for name in ("a.1.part", "a.2.part", "a", "a.receipt.json"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "wheel.part").mkdir()
    sweep_parts(tmp_path, keep="a.2.part")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.2.part", "a.receipt.json"]


def test_a_second_writer_waits_and_says_so_and_gives_up_in_the_end(tmp_path: Path) -> None:
    said: list[str] = []
    with (
        lock_cache(tmp_path, said.append),
        pytest.raises(WeightsError, match=r"for 0\.1 s"),
        lock_cache(tmp_path, said.append, timeout_s=0.1),
    ):
        pass
    assert len(said) == 1
    with lock_cache(tmp_path, said.append):
        assert len(said) == 1


def test_too_little_room_is_told_before_a_byte_is_fetched(tmp_path: Path) -> None:
    require_room(tmp_path, 1)
    with pytest.raises(WeightsError, match="make room"):
        require_room(tmp_path, 2**62)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "let this user write"),
        (errno.EROFS, "let this user write"),
        (errno.EIO, "mend the folder"),
    ],
)
def test_what_the_file_system_refuses_is_one_sentence(tmp_path: Path, code: int, told: str) -> None:
    with pytest.raises(WeightsError, match=told) as caught, translated_errors(tmp_path):
        raise OSError(code, "refused")
    assert str(tmp_path) in str(caught.value)


def test_a_cache_that_can_t_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(WeightsError, match="can't be written to"):
        store(tmp_path).fetch("mfd-palm", lambda done, total: None, print)

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import draw_folders

from streamapp.coop.pictures import read_pictures, split_pictures
from streamapp.errors import StreamappError


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_folder_for_each_class_is_read(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/deep/1.png", "a/x.png", ".hidden/y.png", "a/.z.png", "loose.png"):
        write(tmp_path / name, name)
    found = read_pictures(tmp_path)
    assert found.classes == ("a", "b")
    assert [str(file.relative_to(tmp_path)) for file in found.files] == ["a/x.png", "b/2.png", "b/deep/1.png"]
    assert found.labels.tolist() == [0, 1, 1]


def test_classes_keep_the_order_that_is_asked_for(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write(tmp_path / name / "1.png", name)
    assert read_pictures(tmp_path, ("d", "missing", "b")).classes == ("d", "b", "a", "c")


def test_a_csv_names_files_beside_itself(tmp_path: Path) -> None:
    for name in ("1.png", "in/2.png"):
        write(tmp_path / name, name)
    source = write(tmp_path / "labels.csv", "path,class,note\n1.png,dog,\nin/2.png,cat,x\n")
    found = read_pictures(source)
    assert found.classes == ("cat", "dog")
    assert [file.name for file in found.files] == ["1.png", "2.png"]
    assert found.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("file,class\n1.png,dog\n", "has the columns file, class; expected path, class"),
        ("path,class\n1.png,dog\n2.png,cat\n", "line 3: the row names .*2.png, which is not there"),
        ("path,class\n1.png,\n", "line 2: the row has no class"),
        ("path,class\n1.png,dog\n", "of 1 classes; at least 2"),
    ],
)
def test_a_csv_that_can_not_be_used_is_refused(tmp_path: Path, rows: str, reason: str) -> None:
    write(tmp_path / "1.png", "")
    with pytest.raises(StreamappError, match=reason):
        read_pictures(write(tmp_path / "labels.csv", rows))


def test_a_csv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures.csv").write_bytes(b"path,class\n\xff.png,one\n")
    with pytest.raises(StreamappError, match=r"pictures\.csv can't be read as a CSV in UTF-8"):
        read_pictures(tmp_path / "pictures.csv")


def test_a_picture_that_is_there_twice_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, content in {"a/1": "one", "a/2": "one", "a/3": "two", "b/1": "three"}.items():
        write(tmp_path / name, content)
    with caplog.at_level(logging.WARNING):
        found = read_pictures(tmp_path)
    assert len(found.files) == 3
    assert "1 of 4 pictures are there twice" in caplog.text


def test_a_picture_in_two_classes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a/1.png", "same")
    write(tmp_path / "b/2.png", "same")
    with pytest.raises(StreamappError, match=r"2\.png is in class b and, as .*1\.png, in a"):
        read_pictures(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamappError, match="neither a folder nor a CSV"):
        read_pictures(tmp_path / "nothing")


@given(
    sizes=st.lists(st.integers(2, 60), min_size=2, max_size=6),
    shots=st.integers(1, 20),
    validation_shots=st.integers(1, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_three_parts_share_no_picture(
    sizes: list[int], shots: int, validation_shots: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    split = split_pictures(labels, shots=shots, validation_shots=validation_shots, seed=seed)
    together = np.concatenate([split.training, split.validation, split.test])
    assert sorted(together) == list(range(sum(sizes)))
    for number, size in enumerate(sizes):
        learnt, validated = (
            int((labels[part] == number).sum()) for part in (split.training, split.validation)
        )
        assert 1 <= learnt <= shots
        assert 1 <= validated <= validation_shots
        if size >= 4 * validation_shots and 2 * (size - validation_shots) >= 3 * shots:
            assert (learnt, validated) == (shots, validation_shots)


def test_another_seed_draws_other_shots(tmp_path: Path) -> None:
    labels = read_pictures(draw_folders(tmp_path, 8)).labels
    first, again, other = (
        split_pictures(labels, shots=4, validation_shots=2, seed=seed).training.tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_class_of_one_picture_can_not_be_learnt() -> None:
    with pytest.raises(StreamappError, match="has 1 pictures; at least 2"):
        split_pictures(np.array([0, 0, 1]), shots=1, validation_shots=1, seed=0)

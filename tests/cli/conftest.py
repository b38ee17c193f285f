"""What the tests of several commands need."""

import io
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from PIL import Image


@pytest.fixture
def s3_folder(tmp_path: Path, moto_port: int, aws: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose .env file alone names an S3 and its credentials; there is s3://pictures/a.jpg."""
    endpoint = f"http://127.0.0.1:{moto_port}"
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(picture, "JPEG")
    with closing(boto3.client("s3", endpoint_url=endpoint)) as client:
        client.create_bucket(Bucket="pictures")
        client.put_object(Bucket="pictures", Key="a.jpg", Body=picture.getvalue())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    known = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_ENDPOINT_URL": endpoint}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in known.items()))
    return tmp_path

"""Places for runs: a folder by its URI, and a bucket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.stores import Server


@pytest.fixture(scope="module")
def keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "for-tests")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="module")
def server(keys: None) -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=["file", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> str:
    """A place for runs, without any yet."""
    return f"file://{tmp_path}/store" if request.param == "file" else server.uri(f"bucket/{tmp_path.name}/runs")

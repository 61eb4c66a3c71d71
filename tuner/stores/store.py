"""A place that a URI names: a bucket (`s3://`, `gs://`) or a folder (`file://`). Files are read and written whole, as bytes.

pyarrow's file systems, because Ray brings pyarrow along: fsspec would need a package more for each kind of store.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tuner import layout
from tuner.atomic import whole
from tuner.errors import UserError, first_line

SCHEMES = {
    "s3": "The bucket must be there, and this machine must have a key to it: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, "
    "or the machine's role.",
    "gs": "The bucket must be there, and this machine must be logged in: GOOGLE_APPLICATION_CREDENTIALS, or "
    "`gcloud auth application-default login`.",
    "file": "Give a folder that can be written, as file:///folder.",
}
GIVE_UP_S = 15  # Google's client would go on trying for a quarter of an hour


def is_uri(text: str) -> bool:
    return "://" in text


def local_place(uri: str) -> Path:
    """The folder on this machine in which runs whose `--out` is this URI are worked on: `~/.cache/tuner/runs/s3-bucket-path`."""
    parts = urlsplit(uri)
    words = re.findall(r"[\w.]+", f"{parts.scheme}/{parts.netloc}{parts.path}", re.ASCII)
    return layout.cache() / "runs" / "-".join(words)


@dataclass(frozen=True)
class Store:
    """What lies under a URI. All methods but `check` raise OSError where the store cannot be reached or refuses."""

    uri: str

    def at(self, name: str) -> Store:
        """The place of that name within this one."""
        parts = urlsplit(self.uri)
        return Store(parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl())

    @property
    def place(self) -> str:
        """The URI without what only says how to get there."""
        return urlsplit(self.uri)._replace(query="").geturl().rstrip("/")

    @property
    def name(self) -> str:
        return self.place.rpartition("/")[2]

    def check(self) -> None:
        """Writes a file there, reads it and removes it.

        Raises:
            UserError: the URI is none, or the place cannot be written and read.
        """
        parts = urlsplit(self.uri)
        if parts.scheme not in SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise UserError(f"'{self.place}' is no place for runs: a URI may begin with {known}; a folder is written without any of them.")
        if "@" in parts.netloc and parts.scheme == "s3":
            raise UserError("--out must not hold a key: it is written into the run and shown. " + SCHEMES["s3"])
        if not parts.netloc and parts.scheme != "file":
            raise UserError(f"'{self.uri}' names no bucket: write {parts.scheme}://BUCKET/PATH.")
        probe, key = f".tuner-{secrets.token_hex(8)}", secrets.token_bytes(8)
        try:
            self.write(probe, key)
            sound = self.read(probe) == key
            self.remove(probe)
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            raise UserError(f"{self.place} cannot be used: {reason(error)}. {SCHEMES[parts.scheme]}") from error
        if not sound:
            raise UserError(f"{self.place} cannot be used: what is written there does not come back.")

    def read(self, key: str) -> bytes:
        """
        Raises:
            FileNotFoundError: there is none.
        """
        with self._fs.open_input_stream(self._path(key)) as file:
            return bytes(file.read())

    def write(self, key: str, content: bytes) -> None:
        """Whoever reads it finds the old content or the new one, never half."""
        path = self._path(key)
        if self._fs.type_name != "local":  # an object appears when it is complete
            with self._fs.open_output_stream(path) as file:
                file.write(content)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole(Path(path)) as part:
            part.write_bytes(content)

    def remove(self, key: str) -> None:
        """Also where there is none."""
        try:
            self._fs.delete_file(self._path(key))
        except FileNotFoundError:
            return

    def files(self) -> dict[str, int]:
        """The sizes in bytes of all files at any depth, by their keys. Those that begin with a dot are being written."""
        from pyarrow.fs import FileType

        found = self._listed(recursive=True)
        return {key: info.size for key, info in found.items() if info.type == FileType.File and not info.base_name.startswith(".")}

    def folders(self) -> list[str]:
        """The names that have something under them."""
        from pyarrow.fs import FileType

        return sorted(key for key, info in self._listed(recursive=False).items() if info.type == FileType.Directory)

    def age(self, key: str) -> float:
        """Seconds since the file was written, by the store's clock.

        Raises:
            FileNotFoundError: there is none.
        """
        probe = f".tuner-{secrets.token_hex(8)}"
        self.write(probe, b"")
        now, then = self._fs.get_file_info([self._path(probe), self._path(key)])
        self.remove(probe)
        if then.mtime is None:
            raise FileNotFoundError(key)
        return float((now.mtime - then.mtime).total_seconds())

    def _listed(self, *, recursive: bool) -> dict[str, Any]:
        from pyarrow.fs import FileSelector

        found = self._fs.get_file_info(FileSelector(self._root, recursive=recursive, allow_not_found=True))
        return {info.path[len(self._root) :].lstrip("/"): info for info in found}

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @property
    def _root(self) -> str:
        return str(self._opened[1]).rstrip("/")

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        from pyarrow.fs import FileSystem

        uri = self.uri
        if uri.startswith("gs://") and "retry_limit_seconds" not in uri:
            uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={GIVE_UP_S}"
        opened: tuple[Any, str] = FileSystem.from_uri(uri)
        return opened


def reason(error: BaseException) -> str:
    """What went wrong, in one line, without the names of the service's calls and requests."""
    line = re.sub(r"^When .*?: (AWS Error )", r"\1", first_line(error))
    line = re.sub(r" \(Request ID: [^)]*\)|; Details: .*|\. Detail: .*| error_info=.*|^\[Errno \d+\] ", "", line)
    return line.rstrip(". ")

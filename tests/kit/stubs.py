"""Commands on PATH that do nothing but write down what they were asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Stubs:
    """A folder of stub commands, which is all of PATH beside the system's own. `calls`: what was asked, in order, one line per call."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._log = folder / "stubs", folder / "calls"
        self.folder.mkdir()
        # bash, awk and the like, but not the tools in question, wherever this machine has them.
        system = folder / "system"
        system.mkdir()
        for name in ("bash", "sh", "env", "awk", "head", "seq", "sleep", "cat", "kill", "ps", "rm", "chmod"):
            found = next((path for path in ("/bin", "/usr/bin") if (Path(path) / name).exists()), None)
            if found:
                (system / name).symlink_to(Path(found) / name)
        self.path = os.pathsep.join((str(self.folder), str(system)))
        monkeypatch.setenv("PATH", self.path)

    def add(self, name: str, body: str = "") -> None:
        """`body`: shell lines that run after the call was written down."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self._log}"\n{body}\n')
        path.chmod(0o755)

    def until(self, call: str, number: int) -> str:
        """Shell words that wait until `number` calls that match were written down, at most for some minutes."""
        count = f"awk '/{call}/ {{ n++ }} END {{ print n + 0 }}' \"{self._log}\""
        return f'for _ in $(seq 3000); do [ "$({count})" -ge {number} ] && break; sleep 0.1; done'

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

"""A stand-in for W&B's cloud: a server on the loopback that answers what wandb asks when it opens a run, and keeps what it was sent."""

from __future__ import annotations

import gzip
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import wandb


class Cloud(ThreadingHTTPServer):
    """Answers what wandb asks when it opens a run, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.buckets: list[dict[str, Any]] = []
        self.sweeps: list[str] = []
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.refuses_runs = self.refuses_artifacts = False
        self.views: dict[str, dict[str, Any]] = {}  # reports
        self.uploaded: list[str] = []
        self.artifacts: dict[str, list[str]] = {}  # by name, the names of their files
        self.unknown: list[str] = []

    def history(self, run: str) -> list[dict[str, Any]]:
        """What was logged in a run, as far as it arrived."""
        chunks = [post.get("files", {}).get("wandb-history.jsonl", {"content": []}) for post in self.files[run]]
        return [json.loads(line) for chunk in chunks for line in chunk["content"]]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """wandb hangs up whenever it likes."""


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cloud

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/file_stream"):
            self.server.files.setdefault(self.path.split("/")[-2], []).append(json.loads(body))
        self.answer(self.graphql(json.loads(body)) if self.path == "/graphql" else {})

    do_PUT = do_POST

    def do_HEAD(self) -> None:
        self.answer({})

    do_GET = do_HEAD

    def graphql(self, asked: dict[str, Any]) -> dict[str, Any]:
        query, given = asked["query"], asked.get("variables") or {}
        project = {"id": "p", "name": "tuner", "entity": {"id": "e", "name": "me"}}
        if "upsertSweep" in query:
            self.server.sweeps.append(given["config"])
            return {"data": {"upsertSweep": {"sweep": {"name": "sw33p1d0", "project": project}, "configValidationWarnings": []}}}
        if "upsertBucket" in query:
            if self.server.refuses_runs:
                return {"errors": [{"message": "permission denied"}]}
            self.server.buckets.append(given)
            bucket = {"id": "b", "name": given["name"], "displayName": given.get("displayName"), "sweepName": given.get("sweep")}
            bucket |= {"config": "{}", "project": project, "historyLineCount": 0}
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "RunResumeStatus" in query:
            return {"data": {"model": {**project, "bucket": self.known(given["name"])}}}
        if "createRunFiles" in query:
            self.server.uploaded += given["files"]
            files = [{"name": name, "uploadUrl": f"http://127.0.0.1:{self.server.server_port}/upload"} for name in given["files"]]
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        if "viewer" in query:
            viewer = {"id": "u", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
            return {"data": {"viewer": viewer}}
        return self.report(query, given)

    def report(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """What wandb-workspaces asks when it makes a report and reads it."""
        project = {"id": "p", "internalId": "cDox", "name": "tuner", "entityName": "me"}
        if "ProjectInternalId" in query:
            return {"data": {"project": project}}
        if "upsertView" in query:
            view = {
                **given,
                "id": given.get("id") or b64encode(b"View:%d" % len(self.server.views)).decode(),
                "project": project,
                "type": given["type"],
            }
            self.server.views[view["id"]] = view
            return {"data": {"upsertView": {"view": view, "inserted": True}}}
        if "SpecificReport" in query:
            return {"data": {"view": self.server.views[given["reportId"]]}}
        if "GetProjects" in query:
            node = {"__typename": "Project", "id": "p", "name": "tuner", "entityName": "me", "createdAt": "", "isBenchmark": False}
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            return {"data": {"models": {"pageInfo": page, "edges": [{"node": {**node, "user": None}}]}}}
        return self.artifact(query, given)

    def artifact(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """What wandb asks when it sends an artifact: it is begun, its files are named, then its manifest, and it is whole."""
        asked = given.get("input", given)
        if "CreateArtifact " in query:
            name = asked["artifactCollectionName"]
            self.server.artifacts[name] = []
            made = {"id": name, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
            return {"data": {"createArtifact": {"artifact": made}}}
        where = {"uploadUrl": f"http://127.0.0.1:{self.server.server_port}/upload", "uploadHeaders": []}
        if "CreateArtifactFiles" in query:
            nodes = []
            for one in asked["artifactFiles"]:
                self.server.artifacts[one["artifactID"]].append(one["name"])
                node = {"id": "f", "name": one["name"], "displayName": one["name"], "storagePath": "s", "uploadMultipartUrls": None}
                nodes.append({"node": {**node, **where, "artifact": {"id": one["artifactID"]}}})
            return {"data": {"createArtifactFiles": {"files": {"edges": nodes}}}}
        if "CreateArtifactManifest" in query or "UpdateArtifactManifest" in query:
            field = "createArtifactManifest" if "CreateArtifactManifest" in query else "updateArtifactManifest"
            file = {"id": "f", "name": "m", "displayName": "m", **where}
            return {"data": {field: {"artifactManifest": {"id": "m", "file": file}}}}
        if "CommitArtifact" in query:
            if self.server.refuses_artifacts:  # after their files have arrived
                return {"errors": [{"message": "the storage is full"}]}
            return {"data": {"commitArtifact": {"artifact": {"id": asked["artifactID"], "digest": "d"}}}}
        if "ArtifactByID" in query:
            return {"data": {"artifact": whole_artifact(given["id"])}}
        self.server.unknown.append(query)
        return {"errors": [{"message": "this stand-in does not know that"}]}

    def known(self, name: str) -> dict[str, Any] | None:
        """A run that was sent before, as far as one that goes on must know it."""
        if name not in self.server.files:
            return None
        history = self.server.history(name)
        none = {
            "eventsLineCount": 0,
            "logLineCount": 0,
            "eventsTail": "[]",
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
            "config": "{}",
        }
        return {
            "id": "b",
            "name": name,
            "summaryMetrics": json.dumps(history[-1]),
            "displayName": name,
            "historyLineCount": len(history),
            "historyTail": json.dumps([json.dumps(history[-1])]),
            **none,
        }

    def answer(self, content: dict[str, Any]) -> None:
        body = b"" if self.command == "HEAD" else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def whole_artifact(name: str) -> dict[str, Any]:
    """An artifact that was committed, as the cloud describes it."""
    project = {"id": "p", "internalId": "p", "name": "tuner", "entity": {"name": "me"}}
    known = {"__typename": "Artifact", "id": name, "artifactSequence": {"__typename": "ArtifactSequence", "name": name, "project": project}}
    known |= {"versionIndex": 0, "artifactType": {"name": "model"}, "description": None, "metadata": "{}", "ttlDurationSeconds": -2}
    known |= {"ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED", "size": 1, "digest": "d", "commitHash": "c"}
    return {**known, "fileCount": 2, "createdAt": "2026-01-01T00:00:00", "updatedAt": None, "aliases": []}


def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """For a fixture: while a test runs, W&B is this server."""
    server = Cloud()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    wandb.teardown()  # it reads its environment once in a process
    yield server
    wandb.teardown()  # it hangs up before the server is gone
    server.shutdown()
    server.server_close()

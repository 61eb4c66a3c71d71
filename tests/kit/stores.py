"""A bucket on moto's S3 server, which can be stopped and started again; and what a store holds."""

from __future__ import annotations

import logging
import socket

import boto3
from moto.server import ThreadedMotoServer

from tuner.stores.store import Store
from tuner.stores.uploads import segments


class Server:
    """S3 on the loopback; what it holds outlives a stop."""

    def __init__(self) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.start()
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1").create_bucket(Bucket="bucket")

    def start(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def uri(self, path: str) -> str:
        return f"s3://{path}?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"


def journal(store: Store) -> bytes:
    """As its segments have it."""
    return b"".join(store.read(key) for _, key in segments(store.files()))

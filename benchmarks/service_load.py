"""The service under load: thousands of runs, open pages, trainings, writes, and one slow client.

Prints, every figure seen by a client on this machine: median and 95th percentile of the list of
runs, over HTTP and as a page; how late events reach open streams; the server's memory over time;
every answer that was an error. Nothing trains here: writers append epochs at a
trainer's pace, since a processor that trains would be measured and not the server.

    python -m benchmarks.service_load [--minutes 10] [--runs 2000] [--streams 50]
"""

import argparse
import json
import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from benchmarks.service_runs import Writers, cpu_s, fill, rss_mib
from tests.unit.service.services import Served, start_server

from scfae.service import Queue

EPOCHS = 50


def read_all(urls: list[str], ending: Any, found: Any) -> None:
    """Follow events as open pages do, in a process of its own; tell how late each came."""
    late_s: list[float] = []
    readers = [threading.Thread(target=read, args=[url, late_s], daemon=True) for url in urls]
    for reader in readers:
        reader.start()
    ending.wait()
    found.put(list(late_s))


def read(url: str, late_s: list[float]) -> None:
    begun_s = time.time()
    with httpx.Client(timeout=None) as client, client.stream("GET", url) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                told_s = json.loads(line[5:]).get("time", 0.0)
                if told_s > begun_s:
                    late_s.append(time.time() - told_s)


class Clicks(threading.Thread):
    """Asks for one address again and again, and notes how long each answer takes."""

    def __init__(self, url: str, pause_s: float, *, is_edit: bool = False) -> None:
        super().__init__(daemon=True)
        self._url, self._pause_s, self._is_edit = url, pause_s, is_edit
        self.took_s: list[float] = []
        self.errors: list[str] = []
        self.ending = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self.ending.wait(self._pause_s):
                begun_s = time.perf_counter()
                if self._is_edit:
                    answer = client.patch(self._url, json={"notes": str(begun_s)})
                else:
                    answer = client.get(self._url)
                self.took_s.append(time.perf_counter() - begun_s)
                if answer.status_code >= 400:
                    self.errors.append(f"{answer.status_code} {answer.text[:200]}")

    def figures(self) -> dict[str, Any]:
        cuts = statistics.quantiles(self.took_s, n=20)
        return {
            "median_ms": round(1000 * statistics.median(self.took_s), 1),
            "p95_ms": round(1000 * cuts[-1], 1),
            "count": len(self.took_s),
            "errors": self.errors[:3],
        }


def slow_client(port: int, path: str) -> socket.socket:
    """Return a connection that asks for events and reads none."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def load(served: Served, ids: list[str], minutes: float, streams: int, trainers: int) -> Any:
    writers = Writers(served.queue, trainers)
    url = f"http://127.0.0.1:{served.port}"
    pages = [f"{url}/api/v1/runs/{writers.ids[i % trainers]}/events" for i in range(streams)]
    processes = multiprocessing.get_context("spawn")
    ending, told = processes.Event(), processes.Queue()
    reader = processes.Process(target=read_all, args=[pages, ending, told])
    reader.start()
    clicks = {
        "list": Clicks(f"{url}/api/v1/runs?limit=50", 0.5),
        "found": Clicks(f"{url}/api/v1/runs?q=run%20123", 2.0),
        "page": Clicks(f"{url}/", 1.0),
        "curve": Clicks(f"{url}/api/v1/runs/{ids[7]}/metrics?keys=val.figure_00", 1.0),
        "edit": Clicks(f"{url}/api/v1/runs/{ids[3]}", 0.5, is_edit=True),
        "edit too": Clicks(f"{url}/api/v1/runs/{ids[4]}", 0.5, is_edit=True),
    }
    with slow_client(served.port, f"/api/v1/runs/{writers.ids[0]}/events"):
        for thread in (writers, *clicks.values()):
            thread.start()
        memory_mib = []
        before_s = cpu_s(served.process.pid)
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            time.sleep(min(10.0, 6 * minutes))
            memory_mib.append(round(rss_mib(served.process.pid), 1))
        share = (cpu_s(served.process.pid) - before_s) / (60 * minutes)
        for one in clicks.values():
            one.ending.set()
        for one in clicks.values():
            one.join()
        writers.ending.set()
    ending.set()
    late_s = told.get(timeout=60)
    reader.terminate()
    reader.join()
    cuts = statistics.quantiles(late_s, n=20)
    return {
        "requests": {name: one.figures() for name, one in clicks.items()},
        "events": {
            "received": len(late_s),
            "expected": streams * (writers.epochs - 1),
            "median_late_s": round(statistics.median(late_s), 2),
            "p95_late_s": round(cuts[-1], 2),
        },
        "memory_mib": memory_mib,
        "processor_share": round(share, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--trainers", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="of the service; kept and used again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        ids = fill(Queue(folder), arguments.runs, EPOCHS)
        with start_server(folder, "--no-worker") as served:
            found = load(served, ids, arguments.minutes, arguments.streams, arguments.trainers)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

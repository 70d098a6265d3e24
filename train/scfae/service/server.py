"""The server's process: uvicorn, a worker beside it, and an end within seconds."""

import logging
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from scfae.store.errors import ConfigError

from .beside import WorkerBeside
from .context import Service
from .deliverer import Deliverer
from .guard import LOOPBACK

logger = logging.getLogger("scfae.service")

STREAMS_END_S = 2


class Server(uvicorn.Server):
    """Tells open streams to end as soon as it is asked to; they would keep it up otherwise."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Remember the signal, and end the streams."""
        app = self.config.app
        assert isinstance(app, FastAPI)
        service: Service = app.state.service
        service.stopping.set()
        super().handle_exit(sig, frame)


def needs_token(host: str, allowed: Sequence[str]) -> bool:
    """Return whether callers need a token: others than this machine can reach the service.

    Args:
        host: The address that it listens on.
        allowed: Further names of it: whoever uses them comes from elsewhere, through a proxy.
    """
    return host not in LOOPBACK or not LOOPBACK.issuperset(map(str.lower, allowed))


def check_address(service: Service, host: str) -> None:
    """Check that a service that needs tokens has one.

    Raises:
        ConfigError: There is no token.
    """
    if service.needs_token and not service.tokens.tokens():
        raise ConfigError(
            f"--host {host}, --allow-host: others can reach this service, so a token is due first: "
            f"scfae service token add {service.queue.folder} NAME --role admin"
        )


def hosts_of(host: str, allowed: Sequence[str]) -> frozenset[str]:
    """Return the names that the Host header may have.

    Args:
        host: The address that the service listens on.
        allowed: Further names, e.g. those of a proxy.
    """
    names = {*LOOPBACK, socket.gethostname().lower(), *map(str.lower, allowed)}
    is_everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - looked for, not listened on
    return frozenset(names if is_everywhere else {*names, host.lower()})


def serve(app: FastAPI, *, host: str, port: int, worker: Sequence[str] | None) -> None:
    """Answer requests until SIGTERM or Ctrl-C.

    Args:
        app: By `make_app`.
        host: Address to listen on.
        port: 0 takes a free one.
        worker: The command of the worker that runs beside; None for none. It is asked to stop when
            the server ends, and does to its jobs what it was told.

    Raises:
        ConfigError: The address or port cannot be had.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        timeout_graceful_shutdown=STREAMS_END_S,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )
    listening = _listening(config, host)
    service: Service = app.state.service
    beside = None if worker is None else WorkerBeside(service.queue.folder, worker)
    if beside is not None:
        beside.start()
    Deliverer(
        service.queue, service.webhooks, service.deliveries, stopping=service.stopping
    ).start()
    threading.Thread(target=service.gpus.watch, args=[service.stopping], daemon=True).start()
    try:
        Server(config).run(sockets=[listening])
    finally:
        app.state.service.predictors.close()
        if beside is not None:
            beside.stop()


def worker_words(folder: Path, words: Sequence[str]) -> list[str]:
    """Return the command of a worker on a service folder."""
    return [sys.executable, "-m", "scfae.cli", "worker", "--service", str(folder), *words]


def _listening(config: uvicorn.Config, host: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, config.port))
    except OverflowError:
        raise ConfigError(f"--port {config.port}: 0 to 65535 are ports.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"--host {host} --port {config.port}: {why}; choose another.") from None
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    print(f"scfae serves on http://{shown}:{port}", file=sys.stderr, flush=True)
    return listening

"""`scfae serve`: the training service's HTTP API, with a worker beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .arguments import parse
from .interrupt import Stopped, end_at_once, raise_on_sigterm, signal_of

EXAMPLE = """\
  scfae serve --store-root features/ --media-root clips/
  scfae service token add service/ ann --role operator
  scfae serve --host 0.0.0.0 --allow-host train.example.org --store-root /data/features
  scfae serve --root-path /scfae --no-worker               # behind a proxy; workers elsewhere

Ctrl-C and SIGTERM end it within five seconds; jobs go on, or save by --on-stop checkpoint. On the
loopback address everybody of this machine may do everything; any other address, a further name by
--allow-host, and whatever comes through a proxy need a token.
"""


@dataclass(frozen=True)
class ServeArguments:
    """Serve the training service: submit, watch, cancel and resume jobs over HTTP."""

    service: Path = Path("service")
    """The service's folder; made if it is not there."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8712
    """Port; 0 takes a free one."""
    root_path: str = ""
    """The path that a proxy puts before ours, e.g. /scfae."""
    allow_host: tuple[str, ...] = ()
    """Further names that requests may call this service by."""
    store_root: tuple[str, ...] = ()
    """Folders or URLs that feature stores lie under."""
    media_root: tuple[str, ...] = ()
    """Folders that media lie under."""
    allow_trackers: tuple[Literal["mlflow", "wandb"], ...] = ()
    """Trackers that submitted runs may send figures to beside TensorBoard."""
    allow_private_webhooks: bool = False
    """Let webhooks lead to private, loopback and link-local addresses too."""
    max_upload_mb: int = 256
    """Megabytes of media that may be sent to be predicted."""
    no_worker: bool = False
    """Start no worker beside the server."""
    slots: int = 1
    """Jobs at a time of that worker."""
    gpus: tuple[str, ...] = ("auto",)
    """GPUs of that worker, one job each; auto takes all there are; none hides them."""
    on_stop: Literal["leave", "checkpoint"] = "leave"
    """When the service ends, its jobs go on, or save and are queued again."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(ServeArguments, "scfae serve", argv, EXAMPLE)

    from scfae.store.errors import ConfigError

    try:
        from scfae.service.app import make_app
        from scfae.service.server import (
            check_address,
            hosts_of,
            needs_token,
            serve,
            worker_words,
        )
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is missing: pip install 'scfae[service]'.") from None
    from scfae.service.context import Service
    from scfae.service.queue import Queue
    from scfae.service.roots import Roots

    _check(flags)
    service = Service(
        Queue(flags.service),
        Roots(
            stores=flags.store_root,
            media=flags.media_root,
            trackers=("tensorboard", *flags.allow_trackers),
        ),
        needs_token=needs_token(flags.host, flags.allow_host),
        hosts=hosts_of(flags.host, flags.allow_host),
        allows_private_webhooks=flags.allow_private_webhooks,
        max_upload_bytes=flags.max_upload_mb << 20,
    )
    check_address(service, flags.host)
    words = ["--slots", str(flags.slots), "--gpus", *flags.gpus, "--on-stop", flags.on_stop]
    worker = None if flags.no_worker else worker_words(service.queue.folder, words)
    app = make_app(service, root_path=flags.root_path)
    raise_on_sigterm()
    try:
        serve(app, host=flags.host, port=flags.port, worker=worker)
    except KeyboardInterrupt as stop:
        on_stop = "go on" if flags.on_stop == "leave" else "save and are queued again"
        end_at_once(Stopped(f"the service has ended; its jobs {on_stop}.", signal_of(stop)))
    return 0


def _check(flags: ServeArguments) -> None:
    from scfae.service.worker import named_gpus
    from scfae.store.errors import ConfigError

    for flag, value in (("--slots", flags.slots), ("--max-upload-mb", flags.max_upload_mb)):
        if value < 1:
            raise ConfigError(f"{flag} {value}: at least 1 is due.")
    named_gpus(flags.gpus, flags.slots)  # the worker would fail, and be started for ever
    if flags.root_path and not flags.root_path.startswith("/"):
        raise ConfigError(f"--root-path {flags.root_path}: a path begins with /.")
    for flag, roots in (("--store-root", flags.store_root), ("--media-root", flags.media_root)):
        for root in roots:
            if "://" not in root and not Path(root).is_dir():
                raise ConfigError(f"{flag} {root}: there is no such folder; make it first.")

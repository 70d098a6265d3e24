"""Raw media through a run's own encoders to predictions; one sample, one answer.

Files are decoded in a child process with a time limit, as in extraction, and encoded in the batch
shape that the run's columns were made with. A run on derived columns takes the same steps on the
encoders' rows (`raw_columns`). Where the run's evaluation found a temperature on the validation
split, logits are divided by it, so that probabilities are calibrated.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scfae.extract import Encoder, Limits, load_encoder
from scfae.extract.batching import ShardBatcher
from scfae.extract.compute import Compute
from scfae.extract.decoder_pool import DecoderPool, Request
from scfae.extract.decoders import DecoderName, rules
from scfae.extract.device import choose_device
from scfae.extract.forward import Forward
from scfae.extract.media import Decoded
from scfae.extract.recipe import Recipe
from scfae.extract.texts import InlineText, MediaSource
from scfae.store import ColumnInfo
from scfae.store.branches import branches_of, modalities_of
from scfae.store.errors import ConfigError, RunStateError

from .answering import SampleRows, line
from .loading import LoadedRun, load_run
from .media_inputs import Media, MediaInput, media_inputs
from .raw_columns import Encoded, RawColumn, raw_column

Files = dict[MediaSource, dict[str, Recipe]]
"""Files of a sample, each with the recipes of the columns that it feeds."""


def predict(
    run: str | Path,
    media: Iterable[Media],
    *,
    device: str = "cpu",
    only: Iterable[str] | None = None,
    timeout_s: float = 60.0,
    is_streaming: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield one plain JSON object a sample, in order.

    `{"file", "prediction", "probabilities": {class: p}, "present": [modality], "absent":
    {modality: reason}}`, or `{"file", "error"}` where nothing could be read. A sample of several
    files, from a manifest or a mapping, has `id` and `files` in place of `file`.

    Args:
        run: The run folder.
        media: Videos, sounds, images or texts; folders or manifests of them; or mappings with `id`
            and a path for `video`, `audio`, `image` or `text`.
        device: Of the encoders and the model.
        only: Modalities to use; all of the run's if None.
        timeout_s: Wall time that decoding one file may take.
        is_streaming: Answer each sample before the next is asked for; else a few files are
            decoded ahead.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ConfigError: If a modality is not the run's.
        ManifestError: If a folder or manifest cannot be used.
        RunStateError: If the encoders on this machine are not those of the run, or its columns
            cannot be made from media.
    """
    if isinstance(media, Sized) and not len(media):
        raise ConfigError("no media given: name at least one file.")
    limits = Limits(timeout_s=timeout_s)
    with Predictor(run, device=device, limits=limits, ahead=0 if is_streaming else 2) as predictor:
        for sample in predictor.read(media, only=only):
            yield line(predictor.loaded, sample, predictor.device)


class Predictor:
    """A run's model, and what brings media to it; use it in a `with` block.

    Encoders and decoding processes are begun when media first want them, and kept.

    Args:
        run: The run folder.
        device: Of the encoders and the model.
        limits: Bounds on each file.
        ahead: Files that are decoded before their turn.

    Attributes:
        loaded: The run.
        device: As it was found.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ConfigError: If there is no such device.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        device: str = "cpu",
        limits: Limits | None = None,
        ahead: int = 2,
    ) -> None:
        self.device = choose_device(device)
        self.loaded: LoadedRun = load_run(run, device=self.device)
        self._limits, self._ahead = limits or Limits(), ahead
        self._encoders: dict[str, Encoder] = {}
        self._pools: dict[DecoderName, DecoderPool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in self._pools.values():
            pool.close()

    def read(
        self, media: Iterable[Media], *, only: Iterable[str] | None = None
    ) -> Iterator[SampleRows]:
        """Yield the rows of each sample as the run's columns have them, in order.

        Args:
            media: As for `predict`.
            only: Modalities to read; all of the run's if None.

        Raises:
            ConfigError, ManifestError, RunStateError: As for `predict`.
        """
        columns = self._columns(only)
        bases = {info.name: info for one in columns.values() for info in one.encoders()}
        for modality, one in columns.items():
            for info in one.encoders():
                if info.name not in self._encoders:
                    self._encoders[info.name] = _load(modality, info, self.device)
        encoders = {name: self._encoders[name] for name in bases}
        begun: deque[tuple[MediaInput, Files]] = deque()
        samples = media_inputs(media)

        def requests() -> Iterator[Request]:
            for sample in samples:
                files = _files(sample, encoders)
                begun.append((sample, files))
                for path, recipes in files.items():
                    yield Request(path, recipes)

        messages: Iterator[Any] = self._pool(_decoder(bases.values())).decode(requests())
        while True:
            if not begun:
                # Samples come with the requests that the pool asks for before it gives a message.
                first = next(messages, None)
                if first is None:
                    return
                messages = itertools.chain([first], messages)
            sample, files = begun.popleft()
            batchers = {name: _batcher(encoders[name], info) for name, info in bases.items()}
            reasons: dict[str, str] = {}
            encoded = _encode(files, batchers, messages, reasons)
            yield _rows(sample, columns, encoded, reasons, encoders)

    def check(self, only: Iterable[str] | None) -> tuple[str, ...]:
        """Return the modalities that are asked for; all of the run's for None.

        Raises:
            ConfigError: If one is not the run's.
        """
        modalities = modalities_of(list(self.loaded.columns))
        named = modalities if only is None else tuple(only)
        for modality in named:
            if modality not in modalities:
                raise ConfigError(
                    f"only: the run has no modality '{modality}'; it has {', '.join(modalities)}."
                )
        return named

    def _columns(self, only: Iterable[str] | None) -> dict[str, RawColumn]:
        """Return how the columns of some modalities are made, by branch."""
        named = self.check(only)
        store = self.loaded.config.data.store
        wanted = branches_of(named, list(self.loaded.columns))
        return {m: raw_column(m, self.loaded.columns[m], store) for m in wanted}

    def _pool(self, decoder: DecoderName) -> DecoderPool:
        if decoder not in self._pools:
            pool = DecoderPool(1, self._limits, decoder=decoder, ahead=self._ahead)
            self._pools[decoder] = pool
        return self._pools[decoder]


def _load(modality: str, info: ColumnInfo, device: str) -> Encoder:
    """Return the encoder that made a column."""
    weights = None if info.weights == "published" else info.weights
    encoder = load_encoder(info.encoder, weights=weights, device=device)
    media = rules(encoder.spec.modality, info.recipe.get("decoder", "pyav"))
    recipe = media | encoder.spec.recipe | Compute.recorded(info).recipe("cuda")
    now = (encoder.spec.weights_sha256, recipe)
    if now != (info.weights_sha256, info.recipe):
        what = "recipe" if now[0] == info.weights_sha256 else "weights"
        raise RunStateError(
            f"{modality}: the {what} of {info.encoder} here are not those of the run's column "
            f"'{info.name}'; predictions would mean nothing."
        )
    return encoder


def _decoder(columns: Iterable[ColumnInfo]) -> DecoderName:
    """Return who decoded the pictures of the columns.

    Raises:
        RunStateError: If they were decoded by more than one; a file is decoded once for all.
    """
    names: set[DecoderName] = {c.recipe["decoder"] for c in columns if "decoder" in c.recipe}
    if len(names) > 1:
        raise RunStateError(
            f"the run's columns were decoded by {' and '.join(sorted(names))}: predictions decode "
            "a file once; choose modalities of one decoder with --only."
        )
    return next(iter(names), "pyav")


def _files(sample: MediaInput, encoders: Mapping[str, Encoder]) -> Files:
    """Return the files of a sample that feed an encoder."""
    files: Files = {}
    for name, encoder in encoders.items():
        for accepted in encoder.spec.accepts:
            if accepted in sample.files:
                is_sound = encoder.spec.modality == "audio"
                recipe = encoder.recipe("audio" if is_sound else accepted)
                files.setdefault(sample.files[accepted], {})[name] = recipe
                break
    # Every sample takes its turn at the decoder, so that answers come in order and at once.
    return files or {InlineText(""): {}}


def _batcher(encoder: Encoder, info: ColumnInfo) -> ShardBatcher:
    return ShardBatcher.for_column(info, Forward(encoder, Compute.recorded(info)))


def _encode(
    files: Files,
    batchers: Mapping[str, ShardBatcher],
    messages: Iterator[Any],
    reasons: dict[str, str],
) -> dict[str, Encoded]:
    """Return the rows of each column of an encoder; why one has none goes into `reasons`."""
    encoded: dict[str, Encoded] = {}
    for recipes in files.values():
        for message in messages:
            windows = (
                {name: fate.windows for name, fate in message.fates.items()}
                if isinstance(message, Decoded)
                else message
            )
            for name, cut in windows.items():
                batchers[name].add("", cut)
            if isinstance(message, Decoded):
                break
        for name in recipes:
            fate = message.fates[name]
            batchers[name].finish()
            rows = batchers[name].rows("")
            if fate.status in ("missing", "failed") or rows is None:
                reasons[name] = fate.reason or "the encoder gave no rows"
            else:
                encoded[name] = Encoded(*rows)
    return encoded


def _rows(
    sample: MediaInput,
    columns: Mapping[str, RawColumn],
    encoded: Mapping[str, Encoded],
    reasons: Mapping[str, str],
    encoders: Mapping[str, Encoder],
) -> SampleRows:
    """Return a sample's rows by branch, or why it has none."""
    if sample.error is not None:
        return SampleRows(sample.label, error=sample.error)
    found = SampleRows(sample.label)
    for modality, column in columns.items():
        made = column.rows(encoded)
        if made is not None:
            found.rows[modality] = made.rows
            continue
        without = next(one.name for one in column.encoders() if one.name not in encoded)
        accepts = " or ".join(encoders[without].spec.accepts)
        found.absent[modality] = reasons.get(without, f"the encoder reads {accepts}")
    return found

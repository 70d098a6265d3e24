"""Raw media through a run's own encoders to predictions; one file, one answer.

Files are decoded in a child process with a time limit, as in extraction, and encoded in the batch
shape that the run's columns were made with.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from scfae.extract import Encoder, Limits, load_encoder, media_kind
from scfae.extract.batching import ShardBatcher
from scfae.extract.compute import Compute
from scfae.extract.decoder_pool import DecoderPool, Request
from scfae.extract.decoders import DecoderName, rules
from scfae.extract.forward import Forward
from scfae.extract.media import Decoded
from scfae.extract.recipe import Recipe
from scfae.store import ColumnInfo
from scfae.store.derivation import is_derived
from scfae.store.errors import ConfigError, RunStateError

from .device import choose_device
from .loading import LoadedRun, load_run
from .model import apply_model

Rows = npt.NDArray[np.float32]


def predict(
    run: str | Path,
    media: Sequence[str | Path],
    *,
    device: str = "cpu",
    only: Sequence[str] | None = None,
    timeout_s: float = 60.0,
) -> Iterator[dict[str, Any]]:
    """Yield one plain JSON object a file, in order.

    `{"file", "prediction", "probabilities": {class: p}, "present": [modality], "absent":
    {modality: reason}}`, or `{"file", "error"}` where nothing could be read.

    Args:
        run: The run folder.
        media: Videos, sounds or images.
        device: Of the encoders and the model.
        only: Modalities to use; all of the run's if None.
        timeout_s: Wall time that decoding one file may take.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ConfigError: If a modality is not the run's.
        RunStateError: If the encoders on this machine are not those of the run.
    """
    if not media:
        raise ConfigError("no media given: name at least one file.")
    place = choose_device(device)
    loaded = load_run(run, device=place)
    wanted = tuple(loaded.columns) if only is None else tuple(only)
    for modality in wanted:
        if modality not in loaded.columns:
            raise ConfigError(
                f"only: the run has no modality '{modality}'; it has {', '.join(loaded.columns)}."
            )
    encoders = {m: _load(m, loaded.columns[m], place) for m in wanted}
    decoder = _decoder(loaded.columns[m] for m in wanted)
    with DecoderPool(1, Limits(timeout_s=timeout_s), decoder=decoder) as pool:
        recipes = [_recipes(Path(path), encoders) for path in media]
        messages = pool.decode(
            Request(Path(path), chosen) for path, chosen in zip(media, recipes, strict=True)
        )
        for path, chosen in zip(media, recipes, strict=True):
            batchers = {m: _batcher(encoders[m], loaded.columns[m]) for m in chosen}
            absent = {
                m: f"the encoder reads {' or '.join(encoders[m].spec.accepts)}"
                for m in wanted
                if m not in chosen
            }
            rows = _encode(batchers, messages, absent)
            yield _line(loaded, str(path), rows, absent, place)


def _load(modality: str, info: ColumnInfo, device: str) -> Encoder:
    """Return the encoder that made a column."""
    if is_derived(info):
        raise RunStateError(
            f"{modality}: the run reads column '{info.name}', which was computed from others "
            f"({info.encoder}); predictions from media need a run on columns of encoders."
        )
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


def _recipes(path: Path, encoders: Mapping[str, Encoder]) -> dict[str, Recipe]:
    """Return the recipe of each modality that can come out of a file."""
    kind = media_kind(path) or "video"
    recipes: dict[str, Recipe] = {}
    for modality, encoder in encoders.items():
        for accepted in encoder.spec.accepts:
            if accepted == kind:
                is_sound = encoder.spec.modality == "audio"
                recipes[modality] = encoder.recipe("audio" if is_sound else accepted)
    return recipes


def _batcher(encoder: Encoder, info: ColumnInfo) -> ShardBatcher:
    return ShardBatcher.for_column(info, Forward(encoder, Compute.recorded(info)))


def _encode(
    batchers: Mapping[str, ShardBatcher], messages: Iterator[Any], absent: dict[str, str]
) -> dict[str, Rows]:
    """Return the rows of each modality; why one has none goes into `absent`."""
    for message in messages:
        windows = (
            {m: fate.windows for m, fate in message.fates.items()}
            if isinstance(message, Decoded)
            else message
        )
        for modality, cut in windows.items():
            batchers[modality].add("", cut)
        if isinstance(message, Decoded):
            break
    rows: dict[str, Rows] = {}
    for modality, batcher in batchers.items():
        fate = message.fates[modality]
        batcher.finish()
        encoded = batcher.rows("")
        if fate.status in ("missing", "failed") or encoded is None:
            absent[modality] = fate.reason or "the encoder gave no rows"
        else:
            rows[modality] = encoded[0]
    return rows


@torch.no_grad()
def _line(
    loaded: LoadedRun, file: str, rows: Mapping[str, Rows], absent: Mapping[str, str], device: str
) -> dict[str, Any]:
    if not rows:
        reasons = sorted(set(absent.values()))
        return {"file": file, "error": "; ".join(reasons)}
    features, lengths, present = {}, {}, []
    for modality, info in loaded.columns.items():
        mine = rows.get(modality, np.zeros((1, info.dim), dtype=np.float32))
        stored = mine.astype(info.dtype).astype(np.float32)  # as a column would hold it
        features[modality] = torch.from_numpy(stored)[None].to(device)
        lengths[modality] = torch.tensor([len(mine) if modality in rows else 0], device=device)
        present.append(modality in rows)
    here = torch.tensor([present], device=device)
    output = apply_model(loaded.model, features, here, lengths)
    shown = [modality for modality in loaded.columns if modality in rows]
    return {
        "file": file,
        **loaded.task.predict(output, shown),
        "present": shown,
        "absent": dict(absent),
    }

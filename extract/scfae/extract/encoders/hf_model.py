"""Any model of transformers for pictures, video or sound: `hf:MODEL`, a folder or an id on the hub.

Network, weights and processor are the library's (AutoModel; AutoImageProcessor, AutoVideoProcessor
or AutoFeatureExtractor), no code of a model is run. What a model reads decides: `pixel_values` are
frames at `fps` and images; with a number of frames in the configuration, clips of that many, all
consecutive ones unless `fps` or `window_s` says; `input_values` and `input_features` are sound,
whole up to `window_s` (20 s, or what the processor reads at most), longer sound in windows. Of
a model of pictures (or sound) and text that side is taken; of encoder and decoder, the encoder.

`feature=pooled`: the model's own pooled output (with the projection, of pictures and text), or
where it has none, or its weights are not in the file, the mean of all tokens; `mean`, `cls`: mean
of the last layer's tokens, or the first; `rows`, of sound: a row a time step.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from scfae.store.errors import ConfigError, WeightsMismatch

from ..encoder import Encoder, EncoderSpec
from ..entry import EncoderEntry
from ..hf_models import FoundModel, build_model, find_model
from ..hf_processors import PictureProcessor, ProcessorKind, processor_of, processor_recipe
from ..options import Option, check_options
from ..pictures import PICTURE_OPTIONS, PictureRecipe
from ..recipe import MediaKind, Recipe
from ..runs import FrameRuns, SoundWaves
from ..utterances import RowGrid, UtteranceRecipe
from ..windowing import CLIP_OPTIONS, SOUND_OPTIONS, ClipWindows, SoundRuns

SOUND_WINDOW_S: Final = 20.0
_PROBE_S: Final = 1.0
_JOINT: Final[tuple[tuple[ProcessorKind, str], ...]] = (
    ("image", "get_image_features"),
    ("audio", "get_audio_features"),
)
_POOLED: Final = Option("pooled", str, choices=("pooled", "mean", "cls"))
_OPTIONS: Final[dict[ProcessorKind, dict[str, Option]]] = {
    "image": PICTURE_OPTIONS | {"feature": _POOLED},
    "video": CLIP_OPTIONS | {"feature": _POOLED},
    "audio": SOUND_OPTIONS
    | {"feature": Option("pooled", str, choices=("pooled", "mean", "cls", "rows"))},
}


@dataclass(frozen=True, slots=True)
class _Side:
    """The part of a model that reads media.

    Attributes:
        kind: What it reads.
        name: Of its input.
        run: From its inputs by name to the library's output.
        accepted: Names of all inputs it takes.
    """

    kind: ProcessorKind
    name: str
    run: Callable[..., Any]
    accepted: frozenset[str]


class HfModel(Encoder):
    """A model of transformers; `forward` takes what the library's own does, normalised.

    Args:
        spec: What it is.
        module: Its network.
        device: Where the network is.
        side: What of it is run.
        folder: With the processor.
        cut: Makes the recipe of a kind of media.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        module: nn.Module,
        device: torch.device,
        *,
        side: _Side,
        folder: str,
        cut: Callable[[MediaKind], Recipe],
    ) -> None:
        super().__init__(spec, module, device)
        self._side = side
        self._folder = folder
        self._cut = cut
        self.pads_batches = side.kind != "audio"

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's tokens, or the places of its map, `[B, N, D]`."""
        return _tokens(self._side.run(**{self._side.name: x}))

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the first token, or the mean of all, `[B, D]`."""
        return tokens[:, 0] if self.spec.recipe["pooling"] == "first token" else tokens.mean(dim=1)

    def inputs(self, windows: Tensor) -> dict[str, Tensor]:
        """Return what the network takes, from a batch of windows as the recipe cuts them."""
        if self._side.kind == "audio":
            found = _hear(processor_of(self._folder, "audio"), windows.cpu().numpy())
            return {k: v.to(self.device) for k, v in found.items() if k in self._side.accepted}
        if self._side.kind == "video":
            windows = windows.transpose(1, 2)  # [B, 3, T, h, w], and the library wants T first
        return {self._side.name: windows}

    def prepare(self, windows: Tensor) -> Tensor:
        """Return what `forward` takes."""
        return self.inputs(windows)[self._side.name]

    def encode(self, windows: Tensor) -> Tensor:
        """Return one pooled row a window, or a row a time step, `[B, R, D]`."""
        with torch.autocast(self.device.type, enabled=False):
            inputs = self.inputs(windows)
        output = self._side.run(**inputs)
        if self.spec.recipe["pooling"] == "pooler_output":
            return _pooled(output)[:, None].float()
        tokens = _tokens(output).float()
        return tokens if self.spec.recipe["pooling"] == "none" else self.pool(tokens)[:, None]

    def recipe(self, kind: MediaKind) -> Recipe:
        """Return the pre-processing of one kind of media."""
        return self._cut(kind)


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return a model of transformers; see `load_encoder`."""
    found = find_model(entry, weights)
    module = build_model(found, entry.name).eval()
    if module.config.is_encoder_decoder:
        module = module.get_encoder()
    side = _side(entry.name, module)
    values, given = check_options(entry.name, options, _OPTIONS[side.kind])
    folder = str(found.folder)
    try:
        processor = processor_of(folder, side.kind)
    except (OSError, ValueError, KeyError, ImportError) as error:
        why = " ".join(str(error).split())[:160]
        raise WeightsMismatch(
            f"{found.folder}: has no processor of {side.kind} that can be read ({why})."
        ) from None
    entry = replace(entry, name=found.name)
    if side.kind == "audio":
        return _sound(entry, found, module, device, side=side, values=values, given=given)
    cut: Callable[[MediaKind], Recipe]
    picture = PictureProcessor(folder, side.kind)
    if side.kind == "video":
        clips = ClipWindows.of(entry.name, values, frames=_num_frames(module) or 1)
        cut, said, rate = partial(_runs, clips, picture), clips.recipe, clips.rows_per_second
        entry = replace(entry, modality="video", accepts=("video",))
    else:
        fps = values["fps"]
        cut, said, rate = partial(_frames, fps, picture), {"fps": fps}, fps
    grey = np.full((240, 320, 3), 127, dtype=np.uint8)
    output = _probe(entry.name, lambda: _see(side, picture(grey), _num_frames(module)))
    dim, pooling = _dim(entry.name, output, values["feature"])
    modality = values.get("modality")
    spec = replace(entry, dim=dim).spec(
        found.weights,
        options=given,
        modality=modality,
        rows_per_second=None if modality == "image" else rate,
        recipe=said | _recipe(module, processor, values["feature"], pooling),
        packages=("torch", "transformers", "torchvision", "pillow", "av"),
    )
    spec = replace(spec, weights_sha256=found.sha256)
    return HfModel(spec, module, device, side=side, folder=folder, cut=cut)


def _sound(
    entry: EncoderEntry,
    found: FoundModel,
    module: nn.Module,
    device: torch.device,
    *,
    side: _Side,
    values: Mapping[str, Any],
    given: dict[str, Any],
) -> Encoder:
    processor = processor_of(str(found.folder), "audio")
    rate = int(processor.sampling_rate)
    most = _most_samples(processor, rate)
    grid = _row_grid(module, rate)
    runs = SoundRuns.of(
        entry.name,
        values,
        length=most or round(SOUND_WINDOW_S * rate),
        sample_rate_hz=rate,
        shortest=grid.row_samples if grid else math.ceil(0.025 * rate),
    )
    if most is not None and runs.length > most:
        raise ConfigError(
            f"{entry.name}: option window_s must be at most {most / rate:g}, what its processor "
            f"reads, not {values['window_s']:g}."
        )
    probed = most or max(runs.shortest, min(runs.length, round(_PROBE_S * rate)))
    silence = _hear(processor, np.zeros((1, probed), dtype=np.float32))
    inputs = {key: value for key, value in silence.items() if key in side.accepted}
    output = _probe(entry.name, lambda: side.run(**inputs))
    dim, pooling = _dim(entry.name, output, values["feature"])
    said: dict[str, Any] = {"sample_rate_hz": rate, **runs.recipe}
    cut: Callable[[MediaKind], Recipe] = partial(_waves, runs)
    row_rate = runs.rows_per_second
    if values["feature"] == "rows":
        grid = _checked(entry.name, grid, probed, most, rate, _tokens(output).shape[1])
        if values["stride"] is not None or values["stride_s"] is not None:
            raise ConfigError(f"{entry.name}: rows follow each other without gaps; give no stride.")
        rows = max(1, grid.count(runs.length))
        cut, row_rate = partial(_utterances, rows, grid), 1.0 / grid.step_s
        said = {"sample_rate_hz": rate, "window_rows": rows, "step_samples": grid.step_samples}
    entry = replace(entry, modality="audio", accepts=("audio", "video"), dim=dim)
    spec = entry.spec(
        found.weights,
        options=given,
        rows_per_second=row_rate,
        recipe=said | _recipe(module, processor, values["feature"], pooling),
        packages=("torch", "transformers", "av"),
    )
    spec = replace(spec, weights_sha256=found.sha256)
    return HfModel(spec, module, device, side=side, folder=str(found.folder), cut=cut)


def _side(encoder: str, module: Any) -> _Side:
    """Return what of a model reads media.

    Raises:
        ConfigError: If it reads something else.
    """
    for kind, method in _JOINT:
        if hasattr(module, method) and module.main_input_name == "input_ids":
            run = getattr(module, method)
            names = list(signature(run).parameters)
            return _Side(kind, names[0], run, frozenset(names))
    name = module.main_input_name
    accepted = frozenset(signature(module.forward).parameters)
    if name in ("pixel_values", "pixel_values_videos"):
        return _Side("video" if _num_frames(module) else "image", name, module, accepted)
    if name in ("input_values", "input_features"):
        return _Side("audio", name, module, accepted)
    other = " For texts use hf-text:." if name == "input_ids" else ""
    raise ConfigError(f"{encoder}: reads {name}, neither pictures, video nor sound.{other}")


def _num_frames(module: Any) -> int | None:
    config = module.config
    count = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
    return None if not count else int(count)


def _row_grid(module: Any, rate_hz: int) -> RowGrid | None:
    """Return where the rows of a network with convolutions over the waveform lie."""
    kernels = getattr(module.config, "conv_kernel", None)
    strides = getattr(module.config, "conv_stride", None)
    if not isinstance(kernels, list | tuple) or not isinstance(strides, list | tuple):
        return None
    seen, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        seen += (kernel - 1) * step
        step *= stride
    return RowGrid(seen, step, rate_hz)


def _checked(
    encoder: str, grid: RowGrid | None, probed: int, most: int | None, rate_hz: int, count: int
) -> RowGrid:
    """Return where rows lie, as a forward pass shows.

    Raises:
        ConfigError: If tokens are no time steps, or not where they should be.
    """
    # Tokens of what was filled up to one length are time steps where they are of the encoder
    # that reads just that: as Whisper's, whose processor names the samples.
    if grid is None and most is not None and count > 1 and most % count == 0:
        grid = RowGrid(most // count, most // count, rate_hz)
    if grid is None or grid.count(probed) != count:
        raise ConfigError(
            f"{encoder}: option feature=rows is not for this model: its {count} tokens of "
            f"{probed / rate_hz:g} s are no regular steps of time."
        )
    return grid


def _most_samples(processor: Any, rate_hz: int) -> int | None:
    """Return what a processor reads at most, None if it reads any length."""
    for name in ("n_samples", "nb_max_samples"):
        if isinstance(getattr(processor, name, None), int):
            return int(getattr(processor, name))
    if hasattr(processor, "num_mel_bins") and isinstance(
        getattr(processor, "max_length", None), int
    ):
        frames: int = processor.max_length
        return round((0.025 + 0.010 * (frames - 1)) * rate_hz)
    return None


def _hear(processor: Any, waves: Any) -> dict[str, Tensor]:
    found = processor(list(waves), sampling_rate=processor.sampling_rate, return_tensors="pt")
    return dict(found)


def _see(side: _Side, picture: Any, num_frames: int | None) -> Any:
    x = torch.from_numpy(picture)[None]
    if side.kind == "video":
        x = x[:, None].expand(-1, num_frames or 1, -1, -1, -1)
    return side.run(**{side.name: x})


def _probe(encoder: str, run: Callable[[], Any]) -> Any:
    try:
        with torch.no_grad():  # what a network keeps of it must serve training too
            output = run()
            _tokens(output)
            return output
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError) as error:
        why = " ".join(str(error).split())[:200]
        raise ConfigError(f"{encoder}: does not serve as a feature extractor ({why}).") from None


def _tokens(output: Any) -> Tensor:
    tokens: Tensor = output.last_hidden_state
    return tokens.flatten(2).mT if tokens.dim() == 4 else tokens


def _pooled(output: Any) -> Tensor:
    pooled: Tensor = output.pooler_output
    return pooled.flatten(1)


def _dim(encoder: str, output: Any, feature: str) -> tuple[int, str]:
    """Return the features of a row, and how they are pooled."""
    tokens = _tokens(output)
    if tokens.dim() != 3:
        raise ConfigError(
            f"{encoder}: gives {list(tokens.shape)}; only tokens or maps are features."
        )
    if feature == "pooled" and getattr(output, "pooler_output", None) is not None:
        return _pooled(output).shape[-1], "pooler_output"
    pooling = {"cls": "first token", "rows": "none"}.get(feature, "mean of all tokens")
    return tokens.shape[-1], pooling


def _recipe(module: Any, processor: Any, feature: str, pooling: str) -> dict[str, Any]:
    network = type(module).__name__
    return {"feature": feature, "pooling": pooling, "network": network} | processor_recipe(
        processor
    )


def _frames(fps: float, picture: Any, kind: MediaKind) -> Recipe:
    return PictureRecipe(kind, fps, picture)


def _runs(clips: ClipWindows, picture: Any, kind: MediaKind) -> Recipe:
    return FrameRuns(clips, picture)


def _waves(runs: SoundRuns, kind: MediaKind) -> Recipe:
    return SoundWaves(runs, is_repeated=False)


def _utterances(rows: int, grid: RowGrid, kind: MediaKind) -> Recipe:
    return UtteranceRecipe(rows, grid)

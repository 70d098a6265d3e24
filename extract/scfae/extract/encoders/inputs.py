"""`input:ENCODER`: the windows that an encoder reads, kept as rows; nothing of its network is run.

What trains encoders together with a fusion model reads such a column, so that media are decoded
once and not in every epoch. The recipe is the encoder's own, its options too. For networks of
reduced size `every=N` keeps each N-th frame of a clip and `side=N` the central square of its
pictures. Rows of pictures are bytes, which float16 holds exactly.

Shapes: B windows, D values of a row.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from scfae.store.errors import ConfigError

from ..encoder import Encoder, EncoderSpec
from ..entry import EncoderEntry
from ..families.inputs import PREFIX
from ..options import Option, check_options
from ..recipe import MediaKind
from ..registry import load_encoder, open_prefix
from ..whole_windows import WholeWindows, WindowForm, form_of

NO_WEIGHTS: Final = "none"
OPTIONS: Final = {"every": Option(1, int, least=1), "side": Option(None, int, least=1)}
"""Of a column of windows, beside the encoder's own."""
_OF_THE_NETWORK: Final = ("feature", "layout", "layer", "layers", "tokens", "pool", "pooling")


class InputEncoder(Encoder):
    """Windows as rows; `forward` takes a batch of windows as the recipe cuts them.

    Args:
        spec: What it is.
        inner: The encoder whose windows they are.
        form: What they look like.
        smaller: How they are kept smaller, as `WholeWindows` takes it.
    """

    pads_batches = False

    def __init__(
        self,
        spec: EncoderSpec,
        inner: Encoder,
        form: WindowForm,
        device: torch.device,
        *,
        smaller: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(spec, nn.Identity(), device)
        self._inner, self._smaller = inner, dict(smaller or {})
        self.form = form
        if form.values == "bytes":
            self.stored_as = "float16"
        elif form.has_count:
            self.stored_as = "float32"  # a count may be beyond what float16 can say

    def forward(self, x: Tensor) -> Tensor:
        """Return the one row of each window `[B, 1, D]`."""
        if not self.form.has_count:
            return x.flatten(1).float()[:, None]
        is_there = (
            torch.isfinite(x) if x.is_floating_point() else torch.ones_like(x, dtype=torch.bool)
        )
        rows = x.new_zeros((len(x), 1, self.form.dim), dtype=torch.float32)
        rows[:, 0, 0] = is_there.sum(dim=1)
        rows[:, 0, 1 : 1 + x.shape[1]] = torch.where(is_there, x, 0).float()
        return rows

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the row `[B, D]`."""
        return tokens[:, 0]

    def encode(self, windows: Tensor) -> Tensor:
        """Return the row of each window `[B, 1, D]`."""
        if not self.form.has_count and tuple(windows.shape[1:]) != self.form.shape:
            raise ConfigError(
                f"{self.spec.name}: a window of {list(windows.shape[1:])} came, and rows are of "
                f"{list(self.form.shape)}."
            )
        return self.forward(windows)

    def recipe(self, kind: MediaKind) -> WholeWindows:
        """Return the pre-processing of one kind of media: the encoder's own."""
        return WholeWindows(self._inner.recipe(kind), **self._smaller)


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return the windows of an encoder as an encoder; see `load_encoder`."""
    name = entry.name.removeprefix(PREFIX)
    own, asked = split_options(options)
    values, given = check_options(entry.name, asked, OPTIONS)
    # Of an open name what it reads is in the model's own folder; others need no file to say it.
    source = weights if open_prefix(name) else "random:0"
    if source == NO_WEIGHTS:
        source = None
    inner = load_encoder(name, weights=source, **own)
    form = input_form(inner, **values)
    inner.module = nn.Identity()  # the network would only take memory
    recipe = {key: v for key, v in inner.spec.recipe.items() if key not in _OF_THE_NETWORK}
    spec = replace(
        inner.spec,
        name=entry.name,
        dim=form.dim,
        rows_per_second=None,
        recipe={
            **recipe,
            **values,
            "window": form.record(),
            "feature": "the window itself, flattened",
        },
        options={**inner.spec.options, **given},
        weights=inner.spec.weights if open_prefix(name) else NO_WEIGHTS,
        weights_sha256=None,
        is_random=False,
        source=f"windows of {inner.spec.name}",
        licence="the media's own",
    )
    return InputEncoder(spec, inner, form, device, smaller=values)


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an encoder's own options, and those of how its windows are kept."""
    own = {key: value for key, value in options.items() if key not in OPTIONS}
    return own, {key: value for key, value in options.items() if key in OPTIONS}


def input_form(encoder: Encoder, *, every: int = 1, side: int | None = None) -> WindowForm:
    """Return what the windows of an encoder look like as rows.

    Args:
        encoder: The encoder.
        every: Of a clip each so many frames is kept.
        side: Of the central square that is kept; None keeps the whole picture.

    Raises:
        ConfigError: If they cannot be kept as rows, or cannot be kept smaller.
    """
    name = encoder.spec.name
    kind = "audio" if encoder.spec.modality == "audio" else encoder.spec.accepts[0]
    form = form_of(name, WholeWindows(encoder.recipe(kind)))
    if every == 1 and side is None:
        return form
    if form.values != "bytes":
        raise ConfigError(f"{name}: options every and side are for pictures; it reads {kind}.")
    if side is not None and side > min(form.shape[-2:]):
        raise ConfigError(
            f"{name}: option side must be at most {min(form.shape[-2:])}, not {side}."
        )
    return form_of(name, WholeWindows(encoder.recipe(kind), every, side))


def windows_of(form: WindowForm, rows: Tensor) -> Tensor:
    """Return windows `[B, …]` from rows `[B, D]`, as the recipe cut them.

    Args:
        form: What they look like.
        rows: Where windows have their own length, all of one count.
    """
    if not form.has_count:
        windows = rows.reshape(len(rows), *form.shape)
        return windows.round().to(torch.uint8) if form.values == "bytes" else windows.float()
    counts, values = rows[:, 0].long(), rows[:, 1:]
    if form.short == "own length":
        values = values[:, : int(counts[0])]
        return values.round().long() if form.values == "integers" else values.float()
    place = torch.arange(values.shape[1], device=rows.device)
    return values.float().masked_fill(place >= counts[:, None], torch.nan)

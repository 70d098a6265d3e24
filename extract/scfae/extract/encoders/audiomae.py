"""AudioMAE ViT-B by timm; weights in the layout of facebookresearch/AudioMAE.

Network: timm's `vit_base_patch16_224` on spectrograms of 1024 frames x 128 mel bands. Two layouts,
in `model` beside the training script's arguments (an `argparse.Namespace`, the one class that is
let through):
- fine-tuned (`fc_norm.*`; `head.*` is dropped): `forward` returns the last block's tokens, `pool`
  upstream's feature, `fc_norm` of the mean of the 512 patches, class token left out.
- pretrained (`norm.*`; the decoder is dropped): `forward` returns tokens after the final norm;
  there is no official pooled feature: `pool` is the mean of the patches.
The table of positions always comes from the file.

Input, as upstream's: 16 kHz mono less its mean, Kaldi's filter bank, 0 for the frames that a short
clip lacks, `(x + 4.2677393) / (2 * 4.5689974)`. That 0 is louder than silence, so a short clip's
feature is mostly padding: `pool=valid` takes the mean of patches that hold sound only. `pool=time`
gives a row every 160 ms instead, the mean over the 8 patches of all frequencies, and `pool=cls` the
class token. Deviations: upstream cuts sound after 10.24 s, here more windows follow, and the mean
that is taken off is each window's own.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scfae.store.errors import ConfigError

from ..encoder import Encoder
from ..entry import EncoderEntry
from ..grid_windows import Grid, GridSound
from ..options import Option, check_options
from ..recipe import MediaKind
from ..weights import State, load_network

FRAMES, MELS, PATCH = 1024, 128, 16
BANDS = MELS // PATCH
GRID = Grid(
    sample_rate_hz=16_000,
    frame_samples=400,
    hop_samples=160,
    step_frames=PATCH,
    steps=FRAMES // PATCH,
)
STEP_S = GRID.step_samples / GRID.sample_rate_hz
MEAN, STD = -4.2677393, 4.5689974
FBANK: dict[str, Any] = {
    "htk_compat": True,
    "use_energy": False,
    "window_type": "hanning",
    "num_mel_bins": MELS,
    "dither": 0.0,
    "frame_shift": 10,
}
"""Upstream's options of Kaldi's filter bank; the others have torchaudio's defaults."""
FEATURES = {
    "clip": "mean of the 512 patches",
    "valid": "mean of the patches that hold sound",
    "cls": "class token",
    "time": "mean over the 8 frequencies of each 160 ms",
}
OPTIONS = {
    "pool": Option("clip", str, choices=tuple(FEATURES)),
    "stride_s": Option(GRID.steps * STEP_S, float, least=STEP_S),
}
_DROPPED = ("mask_token", "decoder_", "head.")


class AudioMAE(Encoder):
    """AudioMAE; `forward` takes normalised filter banks `[B, 1, 1024, 128]`."""

    blocks = ("patch_embed", "+cls_token", "+pos_embed", "blocks.*", "+norm", "+fc_norm")

    def forward(self, x: Tensor) -> Tensor:
        """Return the class token, then patch `1 + 8 t + f`: `[B, 513, 768]`."""
        tokens: Tensor = self.module.forward_features(x)  # type: ignore[operator]
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the clip's feature `[B, 768]`, with `pool=cls` the class token."""
        if self.spec.recipe["pool"] == "cls":
            return tokens[:, 0]
        return self._norm(tokens[:, 1:].mean(dim=1))

    def prepare(self, windows: Tensor) -> Tensor:
        """Return normalised filter banks `[B, 1, 1024, 128]` of sound that ends in NaN."""
        return torch.stack([_spectrogram(sound[: _length(sound)]) for sound in windows])[:, None]

    def encode(self, windows: Tensor) -> Tensor:
        """Return rows `[B, R, 768]`: one a window, or one every 160 ms."""
        tokens = self.forward(self.prepare(windows))
        wanted = self.spec.recipe["pool"]
        if wanted == "time":
            return self._norm(tokens[:, 1:].reshape(len(tokens), GRID.steps, BANDS, -1).mean(dim=2))
        if wanted != "valid":
            return self.pool(tokens)[:, None]
        counts = [BANDS * GRID.steps_in(_length(sound)) for sound in windows]
        means = [one[1 : 1 + count].mean(dim=0) for one, count in zip(tokens, counts, strict=True)]
        return self._norm(torch.stack(means))[:, None]

    def recipe(self, kind: MediaKind) -> GridSound:
        """Return the pre-processing of sound."""
        recipe = self.spec.recipe
        return GridSound(GRID, round(recipe["stride_s"] / STEP_S), recipe["pool"] == "time")

    def _norm(self, pooled: Tensor) -> Tensor:
        normed: Tensor = self.module.fc_norm(pooled)  # type: ignore[operator]
        return normed


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return AudioMAE; see `load_encoder`."""
    values, given = check_options(entry.name, options, OPTIONS)
    stride_s = round(values["stride_s"] / STEP_S) * STEP_S
    module, found = load_network(
        entry,
        weights,
        build=partial(_build, is_fine_tuned=True),
        build_for=_build_for,
        drop=_DROPPED,
        allowed=(argparse.Namespace,),
    )
    is_fine_tuned = isinstance(module.fc_norm, nn.LayerNorm)
    if values["pool"] == "cls" and is_fine_tuned:
        raise ConfigError(
            f"{entry.name}: pool=cls needs pretrained weights; fine-tuning left the class token "
            "without a norm. Take pool=clip."
        )
    norm = "fc_norm of the" if is_fine_tuned else "after the final norm,"
    spec = entry.spec(
        found,
        options=given,
        rows_per_second=1.0 / (STEP_S if values["pool"] == "time" else stride_s),
        recipe={
            "sample_rate_hz": GRID.sample_rate_hz,
            "channels": "resampled by libswresample, then the mean of all",
            "removed": "mean of the window",
            "fbank": "torchaudio.compliance.kaldi.fbank, sound in [-1, 1]",
            **FBANK,
            "frames": FRAMES,
            "short": "frames of 0 before normalisation",
            "mean": MEAN,
            "divisor": 2 * STD,
            "stride_s": stride_s,
            "pool": values["pool"],
            "layout": "fine-tuned" if is_fine_tuned else "pretrained",
            "feature": f"{norm} {FEATURES[values['pool']]}",
        },
        packages=("torch", "torchaudio", "timm", "av"),
    )
    return AudioMAE(spec, module, device)


def _length(sound: Tensor) -> int:
    """Return the samples before the first NaN."""
    return int(torch.isfinite(sound).sum())


def _spectrogram(sound: Tensor) -> Tensor:
    """Return the normalised filter bank `[1024, 128]` of up to 1024 frames of sound."""
    from torchaudio.compliance import kaldi

    with torch.autocast(sound.device.type, enabled=False):  # a logarithm of small numbers
        centred = (sound - sound.mean())[None]
        bank: Tensor = kaldi.fbank(centred, sample_frequency=GRID.sample_rate_hz, **FBANK)
    padded = F.pad(bank[:FRAMES], (0, 0, 0, FRAMES - min(FRAMES, len(bank))))
    return (padded - MEAN) / (2 * STD)


def _build(*, is_fine_tuned: bool) -> nn.Module:
    module: nn.Module = timm.create_model(
        "vit_base_patch16_224",
        pretrained=False,
        img_size=(FRAMES, MELS),
        in_chans=1,
        num_classes=0,
        global_pool="avg",
        fc_norm=is_fine_tuned,
    )
    return module


def _build_for(state: State) -> nn.Module:
    return _build(is_fine_tuned="fc_norm.weight" in state)

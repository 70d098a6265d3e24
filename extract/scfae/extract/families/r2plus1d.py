"""R(2+1)D: video networks with space and time convolved apart."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="r2plus1d-18",
        modality="video",
        accepts=("video",),
        dim=512,
        rows_per_second=None,
        licence="BSD-3-Clause",
        source="torchvision r2plus1d_18, Kinetics-400",
        weights_file="r2plus1d_18-91a641e6.pth",
        weights_hint=f"From torchvision's model zoo. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.r2plus1d:load",
        find=partial(find_in_hub, "r2plus1d_18-91a641e6.pth"),
    ),
)

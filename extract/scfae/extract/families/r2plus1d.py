"""R(2+1)D: video networks with space and time convolved apart."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub

_FILE_18 = "r2plus1d_18-91a641e6.pth"
_FILE_34 = "r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth"

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="r2plus1d-18",
        modality="video",
        accepts=("video",),
        dim=512,
        rows_per_second=None,
        licence="BSD-3-Clause",
        source="torchvision r2plus1d_18, Kinetics-400",
        weights_file=_FILE_18,
        weights_hint=f"From torchvision's model zoo. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.r2plus1d:load_18",
        find=partial(find_in_hub, _FILE_18),
        has_widths=True,
    ),
    EncoderEntry(
        name="r2plus1d-34",
        modality="video",
        accepts=("video",),
        dim=512,
        rows_per_second=None,
        licence="MIT (moabitcoin/ig65m-pytorch), converted from VMZ's Apache-2.0 weights",
        source="moabitcoin/ig65m-pytorch, R(2+1)D-34, IG-65M and Kinetics-400",
        weights_file=_FILE_34,
        weights_hint=f"From moabitcoin/ig65m-pytorch. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.r2plus1d:load_34",
        find=partial(find_in_hub, _FILE_34),
    ),
)

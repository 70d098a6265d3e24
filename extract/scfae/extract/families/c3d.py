"""C3D: convolutions over space and time, Sports-1M."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="c3d",
        modality="video",
        accepts=("video",),
        dim=4096,
        rows_per_second=None,
        licence="none stated by DavideA/c3d-pytorch; converted from C3D's Caffe weights",
        source="DavideA/c3d-pytorch, C3D, Sports-1M",
        weights_file="c3d.pickle",
        weights_hint=f"From DavideA/c3d-pytorch. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.c3d:load",
        find=partial(find_in_hub, "c3d.pickle"),
    ),
)

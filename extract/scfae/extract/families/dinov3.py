"""DINOv3: Meta's self-supervised vision transformers."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="dinov3-vits16",
        modality="image",
        accepts=("video", "image"),
        dim=384,
        rows_per_second=5.0,
        licence="DINOv3 License (Meta; not OSI)",
        source="facebookresearch/dinov3 (timm: vit_small_patch16_dinov3_qkvb)",
        weights_file="dinov3_vits16_pretrain_lvd1689m-08c60483.pth",
        weights_hint=f"From facebookresearch/dinov3, behind Meta's form. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.dinov3:load",
        find=partial(find_in_hub, "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"),
    ),
)

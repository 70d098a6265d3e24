"""DINOv3: Meta's self-supervised vision transformers."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub


def _entry(name: str, network: str, dim: int, digest: str) -> EncoderEntry:
    file = f"{name.replace('-', '_')}_pretrain_lvd1689m-{digest}.pth"
    return EncoderEntry(
        name=name,
        modality="image",
        accepts=("video", "image"),
        dim=dim,
        rows_per_second=5.0,
        licence="DINOv3 License (Meta; not OSI)",
        source=f"facebookresearch/dinov3 (timm: {network})",
        weights_file=file,
        weights_hint=f"From facebookresearch/dinov3, behind Meta's form. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.dinov3:load",
        find=partial(find_in_hub, file),
    )


ENTRIES: tuple[EncoderEntry, ...] = (
    _entry("dinov3-vits16", "vit_small_patch16_dinov3_qkvb", 384, "08c60483"),
    _entry("dinov3-vits16plus", "vit_small_plus_patch16_dinov3_qkvb", 384, "4057cbaa"),
    _entry("dinov3-vitb16", "vit_base_patch16_dinov3_qkvb", 768, "73cec8be"),
    _entry("dinov3-vitl16", "vit_large_patch16_dinov3_qkvb", 1024, "8aa4cbdd"),
    _entry("dinov3-vith16plus", "vit_huge_plus_patch16_dinov3_qkvb", 1280, "7c1da9a5"),
)

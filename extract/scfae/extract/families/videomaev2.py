"""VideoMAE V2: video transformers, distilled (S, B) or fine-tuned and self-supervised (g)."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub


def _entry(size: str, dim: int, folder: str, file: str, form: str = "") -> EncoderEntry:
    return EncoderEntry(
        name=f"videomaev2-{size}",
        modality="video",
        accepts=("video",),
        dim=dim,
        rows_per_second=None,
        licence="upstream's pages name both Apache-2.0 and CC BY-NC 4.0",
        source="OpenGVLab/VideoMAEv2, Kinetics-710 (network: transformers VideoMAEModel)",
        weights_file=file,
        weights_hint=f"From OpenGVLab/VideoMAE2 on the Hugging Face hub{form}. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.videomaev2:load",
        find=partial(find_in_hub, file),
        hub=f"OpenGVLab/VideoMAE2/{folder}/{file}",
    )


ENTRIES: tuple[EncoderEntry, ...] = (
    _entry("s", 384, "distill", "vit_s_k710_dl_from_giant.pth"),
    _entry("b", 768, "distill", "vit_b_k710_dl_from_giant.pth"),
    _entry("g", 1408, "mae-g", "vit_g_hybrid_pt_1200e_k710_ft.pth", ", behind a form"),
)

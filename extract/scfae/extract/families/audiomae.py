"""AudioMAE: a masked autoencoder of spectrograms."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub

_FILE = "audiomae_finetuned.pth"

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="audiomae-vitb",
        modality="audio",
        accepts=("audio", "video"),
        dim=768,
        rows_per_second=1 / 10.24,
        licence="CC-BY-NC-4.0 (the repository's LICENSE file; its README says CC-BY-4.0)",
        source="facebookresearch/AudioMAE, AudioSet (timm: vit_base_patch16_224)",
        weights_file=f"finetuned.pth (named {_FILE} here)",
        weights_hint=f"From facebookresearch/AudioMAE. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.audiomae:load",
        find=partial(find_in_hub, _FILE),
    ),
)

"""ResNetSE-34: the speaker networks of voxceleb_trainer."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="resnetse34l",
        modality="audio",
        accepts=("audio", "video"),
        dim=512,
        rows_per_second=16_000 / 64_240,
        licence="MIT",
        source="clovaai/voxceleb_trainer, ResNetSE34L",
        weights_file="baseline_lite_ap.model",
        weights_hint=f"From clovaai/voxceleb_trainer. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.resnetse:load_l",
        find=partial(find_in_hub, "baseline_lite_ap.model"),
        has_widths=True,
    ),
    EncoderEntry(
        name="resnetse34v2",
        modality="audio",
        accepts=("audio", "video"),
        dim=512,
        rows_per_second=16_000 / 64_240,
        licence="MIT",
        source="clovaai/voxceleb_trainer, ResNetSE34V2",
        weights_file="baseline_v2_smproto.model",
        weights_hint=f"From clovaai/voxceleb_trainer. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.resnetse:load_v2",
        find=partial(find_in_hub, "baseline_v2_smproto.model"),
        has_widths=True,
    ),
)

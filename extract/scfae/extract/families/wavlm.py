"""WavLM: speech transformers, rows 50 times a second."""

from functools import partial

from ..entry import EncoderEntry
from ..published import TORCH_HUB_HINT, find_in_hub


def _entry(size: str, dim: int, file: str) -> EncoderEntry:
    return EncoderEntry(
        name=f"wavlm-{size}",
        modality="audio",
        accepts=("audio", "video"),
        dim=dim,
        rows_per_second=50.0,
        licence="MIT",
        source="microsoft/unilm, WavLM (network: transformers WavLMModel)",
        weights_file=file,
        weights_hint=f"From microsoft/unilm, folder wavlm. {TORCH_HUB_HINT}",
        loader="scfae.extract.encoders.wavlm:load",
        find=partial(find_in_hub, file),
        hub=f"microsoft/wavlm-{size}/pytorch_model.bin",
    )


ENTRIES: tuple[EncoderEntry, ...] = (
    _entry("base", 768, "WavLM-Base.pt"),
    _entry("base-plus", 768, "WavLM-Base+.pt"),
    _entry("large", 1024, "WavLM-Large.pt"),
)

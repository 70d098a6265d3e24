"""`timm:MODEL`: any picture network that timm serves as a feature extractor."""

from functools import partial
from pathlib import Path

from ..entry import EncoderEntry
from ..published import find_in_hf_cache, find_in_hub

PREFIX = "timm:"


def entry_for(name: str) -> EncoderEntry:
    """Return the entry of `timm:MODEL`; its dim and licence are known once it is loaded."""
    model = name.removeprefix(PREFIX)
    return EncoderEntry(
        name=name,
        modality="image",
        accepts=("video", "image"),
        dim=0,
        rows_per_second=5.0,
        licence="the model's own",
        source=f"huggingface/pytorch-image-models, {model}",
        weights_file="the file of its pretrained tag",
        weights_hint=(
            f"`python -c \"import timm; timm.create_model('{model}', pretrained=True)\"` on a "
            "machine with network fetches it into HF_HOME or TORCH_HOME/hub/checkpoints."
        ),
        loader="scfae.extract.encoders.timm_model:load",
        find=partial(_find, model),
    )


def _find(model: str) -> Path | None:
    import timm

    config = timm.get_pretrained_cfg(model)
    if config is None:
        return None
    found = None
    if config.hf_hub_id:
        names = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
        found = find_in_hf_cache(config.hf_hub_id, *names)
    if found is None and isinstance(config.url, str):
        found = find_in_hub(config.url.rpartition("/")[2])
    return found


_FILES = ("model.safetensors", "pytorch_model.bin")

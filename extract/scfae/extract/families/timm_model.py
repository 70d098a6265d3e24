"""`timm:MODEL`: any picture network that timm serves as a feature extractor."""

from functools import partial
from pathlib import Path

from ..entry import EncoderEntry
from ..published import find_in_hub

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
    if config is None or not isinstance(config.url, str):
        return None
    return find_in_hub(config.url.rpartition("/")[2])

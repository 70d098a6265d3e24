"""Any encoder of transformers: `hf-text:MODEL` for texts, `hf:MODEL` for pictures, video and sound.

MODEL is a folder or an id on the hub.
"""

from ..entry import EncoderEntry

TEXT_PREFIX = "hf-text:"
PREFIX = "hf:"


def text_entry_for(name: str) -> EncoderEntry:
    """Return the entry of `hf-text:MODEL`; its dim and licence are known once it is loaded."""
    return EncoderEntry(
        name=name,
        modality="text",
        accepts=("text",),
        dim=0,
        rows_per_second=None,
        licence="the model's own",
        source="transformers AutoModel and AutoTokenizer",
        weights_file="model.safetensors or pytorch_model.bin, and the tokenizer's files",
        weights_hint="A folder with config.json and weights, or an id on the Hugging Face hub.",
        loader="scfae.extract.encoders.hf_text:load",
        find=_not_one_file,
    )


def entry_for(name: str) -> EncoderEntry:
    """Return the entry of `hf:MODEL`; what it reads, its dim and licence are the model's."""
    return EncoderEntry(
        name=name,
        modality="image",
        accepts=("video", "image"),
        dim=0,
        rows_per_second=None,
        licence="the model's own",
        source="transformers AutoModel and its processor",
        weights_file="model.safetensors or pytorch_model.bin, and the processor's file",
        weights_hint="A folder with config.json and weights, or an id on the Hugging Face hub.",
        loader="scfae.extract.encoders.hf_model:load",
        find=_not_one_file,
    )


def _not_one_file() -> None:
    """A model is no single file that could be found by name."""

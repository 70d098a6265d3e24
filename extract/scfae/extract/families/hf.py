"""Any model of transformers: `hf-text:MODEL` for texts; MODEL is a folder or an id on the hub."""

from ..entry import EncoderEntry

_WHERE = "A folder with config.json and weights, or an id on the Hugging Face hub."


def _not_one_file() -> None:
    """A model is no single file that could be found by name."""


ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="hf-text:MODEL",
        modality="text",
        accepts=("text",),
        dim=0,
        rows_per_second=None,
        licence="that of the model",
        source="transformers AutoModel and AutoTokenizer",
        weights_file="model.safetensors or pytorch_model.bin, and the tokenizer's files",
        weights_hint=_WHERE,
        loader="scfae.extract.encoders.hf_text:load",
        find=_not_one_file,
    ),
)

"""`input:ENCODER`: what an encoder reads, kept as rows, for training it with a fusion model."""

from ..entry import EncoderEntry

PREFIX = "input:"


def entry_for(name: str) -> EncoderEntry:
    """Return the entry of `input:ENCODER`; what it reads and its dim are the encoder's."""
    return EncoderEntry(
        name=name,
        modality="video",
        accepts=("video",),
        dim=0,
        rows_per_second=None,
        licence="the media's own",
        source=f"windows of {name.removeprefix(PREFIX)}",
        weights_file="none",
        weights_hint="Windows need no weights.",
        loader="scfae.extract.encoders.inputs:load",
        find=_no_file,
    )


def _no_file() -> None:
    """Windows come from no weights."""

"""GE2E: the speaker encoder of Resemblyzer."""

from functools import partial

from ..entry import EncoderEntry
from ..published import find_in_package

ENTRIES: tuple[EncoderEntry, ...] = (
    EncoderEntry(
        name="ge2e",
        modality="audio",
        accepts=("audio", "video"),
        dim=256,
        rows_per_second=100.0,
        licence="Apache-2.0",
        source="resemble-ai/Resemblyzer, speaker encoder trained with GE2E",
        weights_file="pretrained.pt (in the PyPI package Resemblyzer)",
        weights_hint="pip install --no-deps Resemblyzer.",
        loader="scfae.extract.encoders.ge2e:load",
        find=partial(find_in_package, "resemblyzer", "pretrained.pt"),
    ),
)

"""What there is, before anything heavy is imported: the value of the entry point."""

from scfae.extract import EncoderEntry

ENTRY = EncoderEntry(
    name="mean-colour",
    modality="image",
    accepts=("video", "image"),
    dim=4,
    rows_per_second=5.0,
    licence="CC0-1.0",
    source="here",
    weights_file="colour.pth",
    weights_hint="There are none; take random:SEED.",
    find=lambda: None,
    loader="scfae_colour.encoder:load",
)

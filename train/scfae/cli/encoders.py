"""`scfae encoders`: what can be run, and what is on this machine."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .arguments import parse, print_json

EXAMPLE = "  scfae encoders\n  scfae encoders --json"


@dataclass(frozen=True)
class EncodersArguments:
    """List every encoder: modality, dim, rows per second, licence, and where its weights are."""

    json: bool = False
    """As one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(EncodersArguments, "scfae encoders", argv, EXAMPLE)
    from scfae.extract import list_encoders, open_names

    encoders = list_encoders()
    if flags.json:
        print_json([asdict(encoder) for encoder in encoders])
        return 0
    for encoder in encoders:
        rate = "" if encoder.rows_per_second is None else f", {encoder.rows_per_second:g} rows/s"
        print(f"{encoder.name}  ({encoder.modality}, {encoder.dim}-d{rate})")
        print(f"    reads    {', '.join(encoder.accepts)}")
        print(f"    source   {encoder.source}; weights: {encoder.licence}")
        where = "on this machine" if encoder.is_available else "not on this machine"
        print(f"    weights  {encoder.weights_file}: {where}")
        if not encoder.is_available:
            print(f"             {encoder.weights_hint}")
    print(f"\nany model of a library: {', '.join(open_names())}")
    print("weights of your own: NAME@/path/to/file; noise for a baseline: NAME@random:SEED")
    return 0

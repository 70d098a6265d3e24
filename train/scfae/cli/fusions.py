"""`scfae fusions`: the methods that can be trained, and what each of them is."""

import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, print_json

if TYPE_CHECKING:
    from scfae.fusion import FusionInfo

EXAMPLE = "  scfae fusions\n  scfae fusions misa\n  scfae fusions --json"


@dataclass(frozen=True)
class FusionsArguments:
    """List every fusion method, or tell all of one: source, deviations, options, recipe."""

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = None
    """A method to tell all of."""
    json: bool = False
    """As one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(FusionsArguments, "scfae fusions", argv, EXAMPLE)
    from scfae.fusion import fusion_info, list_fusions

    if flags.name is None:
        infos = list_fusions()
    else:
        try:
            infos = (fusion_info(flags.name),)
        except ValueError as error:
            raise ConfigError(f"{error}") from None
    if flags.json:
        print_json([_plain(info) for info in infos])
    elif flags.name is None:
        _print_table(infos)
    else:
        print(_text(infos[0]))
    return 0


def _plain(info: "FusionInfo") -> dict[str, Any]:
    body = asdict(info)
    body["method"] = info.method.__name__
    return body | {"options": info.defaults}


def _print_table(infos: Sequence["FusionInfo"]) -> None:
    rows = [("method", "row of the paper", "after", "needs")]
    rows += [
        (info.name, info.paper_row, info.faithfulness, ", ".join(info.needs).replace("_", " "))
        for info in infos
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[3]]).rstrip())
    print(
        "\nafter: its authors' code, a port of it by others, their text, or a substitute of ours\n"
        "all of one: scfae fusions NAME; train one: scfae train --fusion NAME"
    )


def _text(info: "FusionInfo") -> str:
    most = "or more" if info.max_modalities is None else f"to {info.max_modalities}"
    recipe = ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in asdict(info.recipe).items()
        if name not in ("loss_weights", "source") and value is not None
    )
    weights = ", ".join(f"{name}={value:g}" for name, value in info.recipe.loss_weights.items())
    options = ", ".join(f"{name}={value}" for name, value in info.defaults.items())
    doc = (inspect.getdoc(info.method) or "").splitlines()[0]
    lines = {
        "what": doc,
        "paper": info.paper_row,
        "after": f"{info.faithfulness}: {info.source}",
        "differs": " ".join(info.deviations) or "in nothing that is known",
        "modalities": f"{info.min_modalities} {most}",
        "if missing": info.missing,
        "needs": ", ".join(info.needs).replace("_", " ") or "nothing beyond features",
        "options": options,
        "recipe": f"{recipe} ({info.recipe.source}); taken by --recipe authors",
        "losses": weights or "each weighs 1",
    }
    if info.batch_losses:
        lines["compares"] = f"the samples of a batch, in {', '.join(info.batch_losses)}"
    width = max(map(len, lines))
    body = [
        textwrap.fill(
            f"{name:<{width}}  {text}",
            width=100,
            initial_indent="  ",
            subsequent_indent=" " * (width + 4),
        )
        for name, text in lines.items()
    ]
    return "\n".join([info.name, *body])

"""`scfae analyse`: gradients, shared and specific parts, branches, contributions of a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from .arguments import parse, print_json, say

if TYPE_CHECKING:
    from scfae.train.analysis.analysis import Analysis

EXAMPLE = """\
  scfae analyse runs/first
  scfae analyse runs/first --batches 200 --json
  scfae analyse runs/first --only parts contributions --split val --shown 500
"""


@dataclass(frozen=True)
class AnalyseArguments:
    """What there is to know of a run beside its figures; kept in RUN/analysis and in its report.

    What an earlier call looked at and this one does not stays, unless model or data changed.

    gradients: the norm of the task's gradient at each modality, its cosine with that of the
    auxiliary losses as they are weighted, and how often that is below 0: of the selected model over
    batches of its training split, and through training if the run kept that (--gradients-every).
    parts: shared and specific parts by PCA and t-SNE, what they have in common (linear CKA, CLUB),
    and what a linear model tells from each. branches: SCFAE with one branch alone. contributions:
    what each modality adds to each sample's answer (exact Shapley values).
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    only: tuple[Literal["gradients", "parts", "branches", "contributions"], ...] = ()
    """What to look at; all that the run's method and task allow if not given."""
    split: str | None = None
    """Split that parts and contributions are of; the run's test split if not given."""
    batches: int = 50
    """Training batches to take gradients of."""
    shown: int = 300
    """Samples in the plots of parts."""
    bootstrap: int = 1000
    """Resamples behind each 95 % interval."""
    seed: int = 1
    """Seed of t-SNE."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda or auto."""
    json: bool = False
    """All that is kept as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(AnalyseArguments, "scfae analyse", argv, EXAMPLE)

    from scfae.train import write_report
    from scfae.train.analysis.analysis import analyse
    from scfae.train.analysis.drawing import draw_analysis
    from scfae.train.analysis.exports import write_analysis

    found = analyse(
        flags.run,
        split=flags.split,
        aspects=flags.only or None,
        num_batches=flags.batches,
        most_shown=flags.shown,
        seed=flags.seed,
        bootstrap=flags.bootstrap,
        device=flags.device,
    )
    kept = write_analysis(found, bootstrap=flags.bootstrap)
    draw_analysis(found)
    if flags.json:
        print_json(kept.document)
    else:
        print("\n".join(_lines(found, flags.bootstrap)))
    for name, why in found.left_out.items():
        say(f"{name} left out: {why}")
    if kept.removed:
        say(
            f"{', '.join(kept.removed)} of an earlier call removed: the selected checkpoint or the "
            "data have changed since."
        )
    say(f"tables and plots: {found.folder}; report: {write_report(flags.run)}")
    return 0


def _lines(found: "Analysis", bootstrap: int) -> list[str]:
    lines: list[str] = []
    for of, figures in (("selected model", found.gradients), ("training", found.training)):
        if not figures:
            continue
        rows = [("", "taken at", "task norm", "auxiliary norm", "cosine", "below 0", "batches")]
        for name, one in figures.items():
            cosine = "none" if one.cosine is None else f"{one.cosine:+.3f}"
            cosine += "" if one.cosine_sd is None else f" ± {one.cosine_sd:.3f}"
            share = "none" if one.negative_share is None else f"{one.negative_share:.2f}"
            norms = (f"{one.task_norm:.4g}", f"{one.auxiliary_norm:.4g}")
            rows.append((name, one.at, *norms, cosine, share, str(one.num_batches)))
        lines += [f"gradients, {of}", *_table(rows), ""]
    if found.sharing:
        shared = [("", "", "linear CKA", "permuted", "CLUB, nats", "permuted", "n")]
        for pair in found.sharing:
            cka = "none" if pair.cka is None else f"{pair.cka:.3f}"
            by_chance = "none" if pair.cka_permuted is None else f"{pair.cka_permuted:.3f}"
            club, null = "none", "none"
            if pair.club is not None:
                club = f"{pair.club.mean:.3f} ± {pair.club.sd:.3f}"
                null = f"{pair.club.permuted:.3f} ± {pair.club.permuted_sd:.3f}"
            shared.append((pair.first, pair.second, cka, by_chance, club, null, str(pair.n)))
        lines += ["what parts have in common", *_table(shared), ""]
    if found.probes:
        names = list(next(iter(found.probes.values())).metrics)[:4]
        probed = [("", *names, "n")]
        for name, probe in found.probes.items():
            values = (probe.metrics[one] for one in names)
            cells = ("none" if value is None else f"{value:.3f}" for value in values)
            probed.append((name, *cells, str(probe.n)))
        lines += ["what a linear model tells from each part", *_table(probed), ""]
    for branch, conditions in found.branches.items():
        condition, figures_ = list(conditions.items())[-1]
        first = next(key for key, value in figures_.items() if isinstance(value, float))
        lines.append(f"{branch} branch alone, {condition}: {first} {figures_[first]:.3f}")
    if found.contributions is not None:
        added = found.contributions
        for name, one_ in added.summary(resamples=bootstrap).items():
            if one_["mean"] is not None:
                ends = one_["mean_ci95"]
                interval = "" if ends is None else f" [{ends[0]:+.3f}, {ends[1]:+.3f}]"
                lines.append(
                    f"{name} adds {one_['mean']:+.3f}{interval} to the {added.what}; it takes away "
                    f"from {one_['negative_share']:.0%} of {one_['n']} samples"
                )
    return lines


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()

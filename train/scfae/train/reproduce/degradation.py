"""What Table 6 needs beyond other tables: encoders in the data, runs of one modality, probes.

A section of the table names the encoders of each modality; their windows are columns `input:…` of
the data set's store. Its first row trains each encoder alone, a run a modality; the others train
all of them under a fusion. After the runs every encoder is probed, and a row of a fusion is the
difference to the encoder alone with the same seed.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from scfae.extract import parse_encoder
from scfae.extract.families.inputs import PREFIX
from scfae.store import ColumnInfo, FeatureStore

from ..encoder_probes import PROBES_FILE, read_degradation
from ..runs import RunFolder
from ..seeds import OverSeeds
from .data import Part
from .tables import Column, Row, Table

if TYPE_CHECKING:
    from .plan import PlannedRow
    from .results import Measurement

ALONE: Final = "unimodal"
"""The method of the row that trains each encoder alone."""


def joint_part(part: Part, table: Table, row: Row) -> Part | str:
    """Return the data of a row with what learns before its fusion, or why there is none.

    Args:
        part: The data set as it is here.
        table: Of `degradation`.
        row: One of its rows.
    """
    if row.section not in table.backbones:
        return replace(part, adapters=True)
    store = FeatureStore.open(part.store)
    windows = [info for info in store.columns.values() if info.encoder.startswith(PREFIX)]
    chosen: dict[str, ColumnInfo] = {}
    for letter, names in table.backbones[row.section].items():
        fitting = [info for info in windows if _encoder(info).name in names]
        if not fitting:
            return (
                f"not run: the store has no column of {PREFIX}{names[0]}, what that encoder reads; "
                f"it is made by scfae extract MEDIA {part.store} -e {PREFIX}{names[0]}"
            )
        if len(fitting) > 1:
            there = ", ".join(info.name for info in fitting)
            return f"not run: the store has several columns of {PREFIX}{names[0]} ({there})"
        chosen[part.letters[letter]] = fitting[0]
    encoders = {
        modality: {
            "encoder": chosen[modality].encoder.removeprefix(PREFIX),
            "checkpointing": True,
            **part.reduced.get(modality, {}),
        }
        for modality in part.columns
    }
    columns = {modality: chosen[modality].name for modality in part.columns}
    return replace(part, columns=columns, encoders=encoders)


def alone_part(part: Part, letter: str) -> Part:
    """Return the data of a run that trains one modality's encoder alone, for its own label."""
    modality = part.letters[letter]
    return replace(
        part,
        columns={modality: part.columns[modality]},
        encoders={m: one for m, one in part.encoders.items() if m == modality},
        label=part.modality_labels.get(modality, part.label),
        modality_labels={},
    )


def _encoder(info: ColumnInfo) -> Any:
    return parse_encoder(info.encoder.removeprefix(PREFIX))


def degradation_measurement(
    part: Part, row: "PlannedRow", column: Column, metric: str
) -> "Measurement":
    """Return one figure of a row: of probes, or of their change where a fusion was trained."""
    from .results import Measurement, mean_ends

    (letter,) = column.conditions
    modality, name = part.letters[letter], part.metric(metric)
    values: list[float | None] = []
    ends: list[Any] = []
    for cell in row.cells_for(letter):
        run = RunFolder(cell.config.loop.run)
        if row.row.method == ALONE:
            probes = run.read(PROBES_FILE)["modalities"] if _has(run, PROBES_FILE) else {}
            found = probes.get(modality, {})
            values.append(found.get(name))
            ends.append(found.get(f"{name}_ci95"))
        else:
            change = read_degradation(run.path).get(modality, {}).get(name, {})
            values.append(change.get("delta"))
            ends.append(change.get("ci95"))
    return Measurement(metric, OverSeeds.of(values), mean_ends(ends))


def _has(run: RunFolder, name: str) -> bool:
    return (run.path / name).is_file()

"""A trained model back from its run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from scfae.store import ColumnInfo
from scfae.store.errors import CheckpointError

from .averaging import judged_weights
from .checkpoint import load_checkpoint
from .config import RunConfig
from .model import build_model
from .runs import RunFolder
from .tasks import Task, load_task


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """What is needed to use a run.

    Attributes:
        run: Its folder.
        config: Its settings.
        model: The model in eval mode, on the wanted device.
        task: What was learned, and how it is measured.
        columns: Each modality's column as it was, in the run's order.
        step: Steps that the weights have seen.
        epoch: Epochs that the weights have seen.
    """

    run: RunFolder
    config: RunConfig
    model: nn.Module
    task: Task
    columns: dict[str, ColumnInfo]
    step: int
    epoch: int


def load_run(
    path: str | Path, *, which: Literal["best", "last"] = "best", device: str = "cpu"
) -> LoadedRun:
    """Return a run's model with the weights of its best or last checkpoint.

    Args:
        path: The run folder.
        which: `best` by validation, or `last`.
        device: Where the model goes.

    Raises:
        RunNotFound: There is no run.
        CheckpointError: The checkpoint is missing, damaged or of another model.
    """
    run = RunFolder(path)
    config, columns = run.config, run.columns
    task = load_task(run.read("task.json"))
    checkpoint = load_checkpoint(run.best if which == "best" else run.last)
    dims = {modality: info.dim for modality, info in columns.items()}
    model = build_model(config, dims, task.num_outputs)
    restore_model(model, {**checkpoint, "model": judged_weights(checkpoint)}, config)
    model.to(device).eval()
    return LoadedRun(run, config, model, task, columns, checkpoint["step"], checkpoint["epoch"])


def restore_model(model: nn.Module, checkpoint: dict[str, object], config: RunConfig) -> None:
    """Put a checkpoint's weights into a model.

    Raises:
        CheckpointError: The weights are of another config or of another architecture.
    """
    if checkpoint.get("config") != config.digest():
        raise CheckpointError(
            f"the checkpoint in {config.loop.run} was written under another config.yaml."
        )
    try:
        model.load_state_dict(checkpoint["model"])  # type: ignore[arg-type]
    except RuntimeError as error:
        text = " ".join(str(error).split())  # torch tells it in several lines
        raise CheckpointError(f"the checkpoint does not fit the model: {text}") from None

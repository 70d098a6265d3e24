"""The epochs' figures for TensorBoard, where it is installed."""

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

from .trackers import flat_figures


class Board:
    """Writes scalars to a folder that `tensorboard --logdir` shows; does nothing without it.

    Args:
        folder: Made at the first figure.
        purge_step: What an earlier attempt wrote from this step on is hidden by TensorBoard.
    """

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its imports warn of its own dependencies
            module = importlib.import_module("torch.utils.tensorboard")
        self._writer = module.SummaryWriter(str(folder), purge_step=purge_step)

    def write(self, step: int, figures: dict[str, Any]) -> None:
        """Write every number of nested figures, named by its path such as `val/loss`."""
        if self._writer is not None:
            for name, value in flat_figures(figures).items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and stop the writer's thread."""
        if self._writer is not None:
            self._writer.close()

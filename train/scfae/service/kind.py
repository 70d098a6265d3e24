"""What every kind of job has in common."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from scfae.store.config import Frozen

from .roots import Roots

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Kind(Frozen, ABC):
    """What every kind of job can be asked for.

    Attributes:
        prints: The artifact that its standard output is; None for the log.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    @abstractmethod
    def checked(self, roots: Roots, runs: Path) -> "Kind":
        """Return the same with every setting checked and every path absolute.

        Args:
            roots: What may be named.
            runs: Folder of the jobs, for those that name another job's run.

        Raises:
            ConfigError: A setting cannot be used; names it.
        """

    def settings(self, folder: Path) -> dict[str, Any] | None:
        """Return what belongs in request.yaml, or None."""
        return None

    @abstractmethod
    def words(self, folder: Path) -> list[str]:
        """Return the words after `scfae` that do the job, and go on with it after a stop."""

    def then(self, folder: Path) -> list[list[str]]:
        """Return the words of commands that follow when the first has done its work."""
        return []

    @property
    def reads(self) -> str | None:
        """The store that must be there when the job begins; None for none."""
        return None

    @property
    def prints(self) -> str | None:
        """Name of the artifact that standard output becomes; None for the log."""
        return None

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return ""

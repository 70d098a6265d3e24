"""A job that reproduces tables of the paper."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .kind import Kind, Name
from .roots import Roots

Dataset = Literal["activitynet", "fakeavceleb", "mosei"]
Method = Annotated[str, Field(pattern=r"^[a-z]\w*$", max_length=60)]


class ReproduceJob(Kind):
    """Put what the paper prints beside what is measured; `scfae reproduce`."""

    kind: Literal["reproduce"] = "reproduce"
    tables: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)]
    """table3 to table14, seeds or all."""
    data: dict[Dataset, Name] = Field(default_factory=dict)
    """Feature store of each set that the tables need, under a store root."""
    protocol: Literal["paper", "honest"] = "honest"
    """How methods are trained and measured."""
    seeds: Annotated[int, Field(ge=1, le=100)] | None = None
    """Trainings of each row; 3, or 1 by the paper's protocol, if not given."""
    methods: Annotated[tuple[Method, ...], Field(max_length=100)] = ()
    """Only rows of these methods are run; all if empty."""
    jobs: Annotated[int, Field(ge=1, le=64)] = 1
    """Runs at a time."""

    def checked(self, roots: Roots, runs: Path) -> "ReproduceJob":
        """Return it with absolute paths; the tables must be there."""
        from scfae.train.reproduce.tables import table_names

        table_names(self.tables)
        data = {name: roots.store(place) for name, place in self.data.items()}
        return self.model_copy(update={"data": data})

    def words(self, folder: Path) -> list[str]:
        """Return the words of `scfae reproduce`."""
        words = ["reproduce", *self.tables, "--out", str(folder / "artifacts")]
        words += ["--protocol", self.protocol, "--jobs", str(self.jobs)]
        if self.data:
            words += ["--data", *(f"{name}={place}" for name, place in self.data.items())]
        if self.seeds is not None:
            words += ["--seeds", str(self.seeds)]
        return [*words, "--methods", *self.methods] if self.methods else words

    @property
    def about(self) -> str:
        """Words to find the job by."""
        return " ".join([*self.tables, *self.data.values(), *self.methods])

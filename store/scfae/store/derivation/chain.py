"""What is done to a column, in which order, and how it is written down."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ..column import DType
from ..config import Frozen
from ..errors import ConfigError

Pool = Literal["mean", "max", "std", "mean+std"]
PREFIX: Final = "derived:"


class Chain(Frozen):
    """The steps from one column to another, always taken in the order of the attributes.

    Attributes:
        layer: Which of `layers` equal blocks of a row is kept, from 0.
        layers: How many blocks there are.
        resample: Another column, whose rows' times the new rows get.
        pool: All rows of a sample become one.
        pca: Features kept, K, by principal components.
        project: Features made, K, by a random projection.
        fit_split: The split that `pca` is fitted on.
        seed: Seed of `project`.
        dtype: How the new rows are stored; as the parent's if None.
    """

    layer: int | None = Field(default=None, ge=0)
    layers: int | None = Field(default=None, ge=1)
    resample: str | None = None
    pool: Pool | None = None
    pca: int | None = Field(default=None, ge=1)
    project: int | None = Field(default=None, ge=1)
    fit_split: str = "train"
    seed: int = Field(default=0, ge=0)
    dtype: DType | None = None

    @classmethod
    def create(cls, **fields: Any) -> Self:
        """Return a chain, with an error that names the flag.

        Raises:
            ConfigError: If a step is unknown, out of range or contradicts another, or there is
                none.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            flag = "".join(f"--{str(part).replace('_', '-')}: " for part in first["loc"])
            raise ConfigError(f"{flag}{first['msg'].removeprefix('Value error, ')}.") from None

    @classmethod
    def from_steps(cls, steps: Mapping[str, Any]) -> Self:
        """Return the chain that `steps` describes, as a column's recipe keeps them."""
        fields = dict(steps)
        if "layer" in fields:
            layer, _, layers = str(fields["layer"]).partition("/")
            fields |= {"layer": int(layer), "layers": int(layers)}
        return cls.create(**fields)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if (self.layer is None) != (self.layers is None):
            raise ValueError("--layer and --layers go together")
        if self.layer is not None and self.layers is not None and self.layer >= self.layers:
            raise ValueError(f"--layer {self.layer} of {self.layers}: they count from 0")
        if self.pca is not None and self.project is not None:
            raise ValueError("--pca and --project exclude each other")
        if not self.steps:
            raise ValueError(
                "nothing to do: give --pool, --pca, --project, --resample, --layer or --dtype"
            )
        return self

    @property
    def steps(self) -> dict[str, Any]:
        """What is done, in order, with what it depends on."""
        steps: dict[str, Any] = {}
        if self.layer is not None:
            steps["layer"] = f"{self.layer}/{self.layers}"
        if self.resample is not None:
            steps["resample"] = self.resample
        if self.pool is not None:
            steps["pool"] = self.pool
        if self.pca is not None:
            steps |= {"pca": self.pca, "fit_split": self.fit_split}
        if self.project is not None:
            steps |= {"project": self.project, "seed": self.seed}
        if self.dtype is not None:
            steps["dtype"] = self.dtype
        return steps

    @property
    def encoder(self) -> str:
        """The encoder's string of the new column, e.g. `derived:pool=mean,pca=128`."""
        return PREFIX + ",".join(f"{name}={value}" for name, value in self.steps.items())

    def dim(self, dim: int) -> int:
        """Return features a row of the new column, where the parent has `dim`.

        Raises:
            ConfigError: If a step does not fit the parent's rows.
        """
        dim = self.dim_before_projection(dim)
        if self.pca is not None and self.pca > dim:
            raise ConfigError(f"--pca: {self.pca} components of rows that have {dim} features.")
        return self.pca or self.project or dim

    def dim_before_projection(self, dim: int) -> int:
        """Return features a row after layer and pooling, where the parent has `dim`.

        Raises:
            ConfigError: If the rows cannot be cut into layers.
        """
        if self.layers is not None:
            if dim % self.layers:
                raise ConfigError(
                    f"--layers: rows of {dim} features are not {self.layers} equal layers. An "
                    "encoder's column holds one layer; only an imported one may hold several."
                )
            dim //= self.layers
        return 2 * dim if self.pool == "mean+std" else dim

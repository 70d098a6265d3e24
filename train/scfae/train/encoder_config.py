"""Settings of one encoder that is trained with a fusion model."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from scfae.store.config import Frozen


class EncoderConfig(Frozen):
    """An encoder that is trained with the fusion model; its string alone stands for it too."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    encoder: Annotated[str, Field(min_length=1)]
    """NAME[@WEIGHTS][:option=value,…], with the options of its column input:NAME."""
    train: Annotated[str, Field(pattern=r"^(full|frozen|last:[1-9]\d*)$")] = "full"
    """What of it learns: full, frozen, or last:N blocks."""
    width: Annotated[int, Field(ge=1)] | None = None
    """Channels of its first stage, for a network of reduced size with weights random:SEED."""
    checkpointing: bool = False
    """Compute each chunk again in the backward pass instead of keeping what it needs."""
    chunk: Annotated[int, Field(ge=1)] = 32
    """Windows that go through at a time; batch norms see as many."""
    lr_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Its learning rate is the run's times this."""

    @model_validator(mode="before")
    @classmethod
    def _of_string(cls, given: Any) -> Any:
        return {"encoder": given} if isinstance(given, str) else given

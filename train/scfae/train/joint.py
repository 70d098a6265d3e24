"""A fusion model behind encoders that learn with it: windows in, as columns `input:…` hold them.

Only what is present goes through an encoder. Standardisation is fitted on stored rows, and an
encoder's change in every step, so what they give is brought to one loudness row by row instead: a
layer norm without parameters, times the loudness.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scfae.extract import parse_encoder
from scfae.extract.families.inputs import PREFIX
from scfae.store import ColumnInfo
from scfae.store.errors import ConfigError

from .config import RunConfig
from .encoder_config import EncoderConfig
from .trained_encoder import TrainedEncoder


class Joint(nn.Module):
    """A model behind the encoders of some of its modalities.

    Args:
        model: The model, for features of the encoders' widths.
        encoders: By modality.
        dims: Values of a row of each modality, in the order of `present`.
        rms: Root mean square of what an encoder gives; None leaves it as it is.
    """

    def __init__(
        self,
        model: nn.Module,
        encoders: Mapping[str, TrainedEncoder],
        dims: Mapping[str, int],
        *,
        rms: float | None,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.model = model
        self.modalities = tuple(dims)
        self.rms = rms

    def forward(
        self,
        features: Mapping[str, Tensor],
        present: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
        *,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Any:
        """Return the model's output for rows `[B, T, D]`."""
        encoded = self.encoded(features, present, lengths)
        if self.rms is not None:
            encoded = {
                m: F.layer_norm(x, x.shape[-1:]) * self.rms if m in self.encoders else x
                for m, x in encoded.items()
            }
        return self.model(encoded, present, lengths, labels=labels, groups=groups)

    def encoded(
        self,
        features: Mapping[str, Tensor],
        present: Tensor | None,
        lengths: Mapping[str, Tensor] | None,
    ) -> dict[str, Tensor]:
        """Return features with those of encoders in the place of windows, not brought to a scale.

        Args:
            features: For each modality `[B, T, D]`, or `[B, D]` for one window a sample.
            present: bool `[B, M]`; None is all present.
            lengths: For each modality int `[B]`; None is T.
        """
        found = dict(features)
        for place, modality in enumerate(self.modalities):
            if modality not in self.encoders or modality not in features:
                continue
            rows = features[modality]
            windows = rows if rows.dim() == 3 else rows[:, None]
            steps = torch.arange(windows.shape[1], device=windows.device)
            valid = torch.ones(windows.shape[:2], dtype=torch.bool, device=windows.device)
            if lengths is not None and modality in lengths:
                valid = steps < lengths[modality][:, None]
            if present is not None:
                valid = valid & present[:, place, None]
            encoded = self.encoders[modality](windows, valid)
            found[modality] = encoded if rows.dim() == 3 else encoded[:, 0]
        return found


def make_encoders(
    configs: Mapping[str, EncoderConfig], dims: Mapping[str, int]
) -> dict[str, TrainedEncoder]:
    """Return the encoder of each modality that has one.

    Args:
        configs: By modality.
        dims: Values of a row of each modality.

    Raises:
        ConfigError, EncoderError: If one cannot be loaded, or does not read such rows.
    """
    return {m: TrainedEncoder(m, one, dims[m]) for m, one in configs.items()}


def encoded_dims(dims: Mapping[str, int], encoders: Mapping[str, TrainedEncoder]) -> dict[str, int]:
    """Return the features a row of each modality behind its encoder."""
    return {m: encoders[m].dim if m in encoders else dim for m, dim in dims.items()}


def parameter_groups(
    model: nn.Module, learning: Iterable[nn.Parameter]
) -> list[nn.Parameter] | list[dict[str, Any]]:
    """Return what learns as an optimizer takes it: groups where an encoder has its own rate.

    Args:
        model: The model.
        learning: Parameters that learn.
    """
    learning = list(learning)
    factors: dict[int, float] = {}
    for module in model.modules():
        if isinstance(module, TrainedEncoder):
            factors |= {id(p): module.config.lr_factor for p in module.parameters()}
    by_factor: dict[float, list[nn.Parameter]] = {}
    for parameter in learning:
        by_factor.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    if set(by_factor) <= {1.0}:
        return learning
    return [{"params": some, "factor": factor} for factor, some in by_factor.items()]


def check_inputs(config: RunConfig, columns: Mapping[str, ColumnInfo]) -> None:
    """Check that each encoder reads the column of its windows, and that no windows lack one.

    Args:
        config: The run's.
        columns: By branch.

    Raises:
        ConfigError: Names the modality, and what would do.
    """
    for modality, info in columns.items():
        given = config.model.encoders.get(modality)
        is_windows = info.encoder.startswith(PREFIX)
        if given is None:
            if is_windows:
                name = info.encoder.removeprefix(PREFIX)
                raise ConfigError(
                    f"columns.{modality} = {info.name}: it holds what {name} reads, not what it "
                    f"says: train the encoder too, by --encoders {modality}={name}."
                )
            continue
        asked = parse_encoder(given.encoder)
        there = parse_encoder(info.encoder.removeprefix(PREFIX)) if is_windows else None
        if there is None or (there.name, there.options) != (asked.name, asked.options):
            options = ",".join(f"{key}={value}" for key, value in sorted(asked.options.items()))
            wanted = f"{PREFIX}{asked.name}" + (f":{options}" if options else "")
            raise ConfigError(
                f"encoders.{modality} = {given.encoder}: it reads a column of {wanted}, and "
                f"{info.name} is of {info.encoder}."
            )

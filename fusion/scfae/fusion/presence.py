"""Inputs of a fusion method, checked, with everything absent or padded set to exactly zero.

What is absent cannot leak, whatever it holds: contents are replaced, not multiplied by zero, since
NaN times zero is NaN.

Shapes: B samples, T time steps, D_m features of modality m, M modalities.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Inputs:
    """Checked inputs.

    Attributes:
        features: For each modality `[B, T, D_m]`; a vector `[B, D_m]` comes as T = 1.
        present: bool `[B, M]`, in the order of the model's modalities.
        valid: For each modality bool `[B, T]`: rows that are present and not padding.
        labels: `[B]` or `[B, C]`, where they were given.
        groups: int `[B]`, the dialogue of each sample, where given.
    """

    features: dict[str, Tensor]
    present: Tensor
    valid: dict[str, Tensor]
    labels: Tensor | None = None
    groups: Tensor | None = None

    @property
    def batch_size(self) -> int:
        """Samples, B."""
        return self.present.shape[0]


def prepare(
    features: Mapping[str, Tensor],
    present: Tensor | None,
    lengths: Mapping[str, Tensor] | None,
    *,
    dims: Mapping[str, int],
    labels: Tensor | None = None,
    groups: Tensor | None = None,
    check_finite: bool = True,
) -> Inputs:
    """Check the inputs of a forward pass and set what is absent to zero.

    Args:
        features: For each modality `[B, D_m]` or `[B, T, D_m]`. One that `present` says is absent
            from every sample may be left out.
        present: bool `[B, M]` in the order of `dims`; None is all present.
        lengths: For each `[B, T, D_m]` modality int `[B]`, the rows that count, 0 for absent; None
            or a modality left out is T for every sample.
        dims: Width of each modality.
        labels: `[B]` or `[B, C]`, or None.
        groups: int `[B]`, or None.
        check_finite: Look for NaN and infinity in what is present.

    Raises:
        ValueError: If names, shapes or values do not fit; the message names the tensor.
        TypeError: If something is no tensor or mapping, `present` is not bool, or lengths or groups
            are not integers.
    """
    modalities = tuple(dims)
    _check_kinds(features, present, lengths, labels, groups)
    for name in features:
        if name not in dims:
            raise ValueError(f"features[{name!r}]: no such modality; known: {', '.join(dims)}")
    for name in lengths or {}:
        if name not in dims:
            raise ValueError(f"lengths[{name!r}]: no such modality; known: {', '.join(dims)}")
    batch_size, device, dtype = _batch(features)
    mask = _presence(present, batch_size, len(modalities), device)
    filled: dict[str, Tensor] = {}
    valid: dict[str, Tensor] = {}
    for column, name in enumerate(modalities):
        if name not in features:
            if present is None or bool(mask[:, column].any()):
                raise ValueError(f"features[{name!r}]: missing, but present says it is there")
            filled[name] = torch.zeros(batch_size, 1, dims[name], device=device, dtype=dtype)
            valid[name] = torch.zeros(batch_size, 1, dtype=torch.bool, device=device)
            continue
        steps = _steps(name, features[name], batch_size, dims[name])
        rows = _rows(name, lengths, features[name], batch_size)
        is_whole = present is None and features[name].numel() > 0 and name not in (lengths or {})
        valid[name] = rows if is_whole else rows & mask[:, column, None]
        # Where nothing can be absent there is nothing to replace, and no copy to make.
        filled[name] = steps if is_whole else steps.masked_fill(~valid[name][:, :, None], 0.0)
        is_checked = check_finite and not torch.compiler.is_compiling()
        if is_checked and not bool(torch.isfinite(filled[name]).all()):
            raise ValueError(f"features[{name!r}]: NaN or infinity in a sample that is present")
    present_now = torch.stack([valid[name].any(dim=1) for name in modalities], dim=1)
    for name, extra in (("labels", labels), ("groups", groups)):
        if extra is not None and (extra.ndim == 0 or extra.shape[0] != batch_size):
            raise ValueError(f"{name}: must be [{batch_size}, ...], not {list(extra.shape)}")
    if groups is not None and groups.is_floating_point():
        raise TypeError(f"groups: must be integers, not {groups.dtype}")
    return Inputs(filled, present_now, valid, labels, groups)


def _check_kinds(
    features: object, present: object, lengths: object, labels: object, groups: object
) -> None:
    """Refuse what is no mapping or no tensor, and tensors that are not all on one device."""
    tensors: dict[str, object] = {"present": present, "labels": labels, "groups": groups}
    for name, mapping in (("lengths", lengths), ("features", features)):
        if mapping is None and name == "lengths":
            continue
        if not isinstance(mapping, Mapping):
            raise TypeError(
                f"{name}: must map each modality to its tensor, not be a {type(mapping).__name__}"
            )
        tensors = {f"{name}[{m!r}]": x for m, x in mapping.items()} | tensors
    first: Tensor | None = None
    for name, tensor in tensors.items():
        if tensor is None and "[" not in name:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: must be a tensor, not {type(tensor).__name__}")
        first = tensor if first is None else first
        if tensor.device != first.device:
            raise ValueError(
                f"{name}: is on {tensor.device}, {next(iter(tensors))} on {first.device}"
            )


def _batch(features: Mapping[str, Tensor]) -> tuple[int, torch.device, torch.dtype]:
    if not features:
        raise ValueError("features: empty; at least one modality is needed")
    sizes = {name: tensor.shape[0] for name, tensor in features.items() if tensor.ndim > 0}
    # No set: a size that is symbolic, in an export, cannot be hashed.
    counts = list(sizes.values())
    if not counts or any(count != counts[0] for count in counts[1:]):
        raise ValueError(f"features: batch sizes differ: {sizes}")
    first = next(iter(features.values()))
    return first.shape[0], first.device, first.dtype


def _presence(
    present: Tensor | None, batch_size: int, num_modalities: int, device: torch.device
) -> Tensor:
    if present is None:
        return torch.ones(batch_size, num_modalities, dtype=torch.bool, device=device)
    if present.dtype != torch.bool:
        raise TypeError(f"present: must be bool, not {present.dtype}")
    if tuple(present.shape) != (batch_size, num_modalities):
        raise ValueError(
            f"present: must be [{batch_size}, {num_modalities}], not {list(present.shape)}"
        )
    return present


def _steps(name: str, tensor: Tensor, batch_size: int, width: int) -> Tensor:
    if tensor.ndim not in (2, 3) or tensor.shape[-1] != width:
        raise ValueError(
            f"features[{name!r}]: must be [{batch_size}, {width}] or [{batch_size}, T, {width}], "
            f"not {list(tensor.shape)}"
        )
    if not tensor.is_floating_point():
        raise TypeError(f"features[{name!r}]: must be floating point, not {tensor.dtype}")
    if tensor.ndim == 3 and tensor.shape[1] == 0:
        return tensor.new_zeros(batch_size, 1, width)
    return tensor[:, None] if tensor.ndim == 2 else tensor


def _rows(
    name: str, lengths: Mapping[str, Tensor] | None, tensor: Tensor, batch_size: int
) -> Tensor:
    num_steps = tensor.shape[1] if tensor.ndim == 3 else 1
    # No step at all is one step that does not count.
    places = torch.arange(max(1, num_steps), device=tensor.device)
    if lengths is None or name not in lengths:
        return (places < num_steps).expand(batch_size, -1)
    length = lengths[name]
    if length.is_floating_point() or length.dtype == torch.bool:
        raise TypeError(f"lengths[{name!r}]: must be integers, not {length.dtype}")
    if tuple(length.shape) != (batch_size,):
        raise ValueError(f"lengths[{name!r}]: must be [{batch_size}], not {list(length.shape)}")
    if not torch.compiler.is_compiling() and bool(((length < 0) | (length > num_steps)).any()):
        raise ValueError(f"lengths[{name!r}]: must be from 0 to T = {num_steps}")
    return places < length[:, None]

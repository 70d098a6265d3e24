"""`.pt` files of tensors: loaded with `weights_only=True`, after a look at what they unpack to."""

import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ImportRefused
from .arrays import Array, MemoryArray
from .limits import ByteBudget


def read_tensors(path: Path, budget: ByteBudget) -> Iterator[tuple[str, Array]]:
    """Yield the tensors of a file by name; a file that is one tensor calls it `data`.

    Args:
        path: The file.
        budget: What it may unpack to.

    Raises:
        ImportRefused: If it holds anything but tensors, or is of a PyTorch before 1.6.
    """
    import torch

    _check_archive(path, budget)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sparse tensors, which are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch makes of hostile files is of a dozen kinds
        why = str(error).split(".")[0].splitlines()[0][:200] if str(error) else "damaged"
        raise ImportRefused(
            f"{path}: is not a file of tensors alone, and no other is loaded ({why})."
        ) from None
    if isinstance(content, torch.Tensor):
        content = {"data": content}
    if not isinstance(content, dict):
        raise ImportRefused(
            f"{path}: holds a {type(content).__name__}, not a tensor or a dict of tensors."
        )
    for name, tensor in content.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor):
            yield name, MemoryArray(_values(tensor, f"{path}, {name!a}", budget))


def _values(tensor: Any, where: str, budget: ByteBudget) -> Any:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ImportRefused(f"{where}: is not a dense tensor; save it with .to_dense().")
    # A tensor of stride 0 repeats one number as often as it likes.
    held_bytes = tensor.untyped_storage().nbytes()
    budget.spend(max(0, tensor.numel() * tensor.element_size() - held_bytes), "a tensor")
    dense = tensor.detach().resolve_conj().resolve_neg()
    if dense.dtype == torch.bfloat16:
        dense = dense.float()
    try:
        return dense.numpy()
    except TypeError:
        raise ImportRefused(f"{where}: holds {tensor.dtype}, not real numbers.") from None


def _check_archive(path: Path, budget: ByteBudget) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ImportRefused(
            f"{path}: is not a file that PyTorch 1.6 or newer writes ({error}); load it in a "
            "place you trust and save it again."
        ) from None
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ImportRefused(
                f"{path}: {member.filename[:80]!a} is compressed, which torch.save never does."
            )
    total = sum(member.file_size for member in members)
    budget.spend(max(0, total - path.stat().st_size), "the archive")

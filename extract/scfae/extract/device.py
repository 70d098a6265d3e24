"""Where encoders and models go: a device by name, checked."""

import torch

from scfae.store.errors import ConfigError


def choose_device(wanted: str, *, where: str | None = None) -> str:
    """Return the device that `auto` means here, or the wanted one.

    Args:
        wanted: `auto`, `cpu`, `cuda`, `cuda:N` or another that PyTorch knows.
        where: What a message begins with, such as `--device cuda`; None: `device = 'cuda'`.

    Raises:
        ConfigError: This machine has no such device.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    where = where or f"device = {wanted!r}"
    try:
        device = torch.device(wanted)
        if device.type == "cuda":
            count = torch.cuda.device_count()
            if (device.index or 0) >= count:
                raise ConfigError(f"{where}: this machine has {count} CUDA devices; take cpu.")
        else:
            torch.empty(0, device=device)
    except (RuntimeError, NotImplementedError, AssertionError):  # as the build of PyTorch has it
        raise ConfigError(
            f"{where}: this machine has no such device; cpu, cuda, cuda:N and auto are names of "
            "devices."
        ) from None
    return wanted

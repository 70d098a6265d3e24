"""What requests may name: paths under configured folders, and trackers that are allowed."""

import re
from dataclasses import dataclass
from pathlib import Path

from scfae.store.errors import ConfigError

_URL = re.compile(r"^[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True)
class Roots:
    """The folders, or URLs, that requests may name.

    Args:
        stores: Feature stores lie under these.
        media: Media and manifests lie under these.
        trackers: Where submitted runs may send their figures.
    """

    stores: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ("tensorboard",)

    def store(self, name: str) -> str:
        """Return the place of a store, absolute, links followed.

        Args:
            name: Absolute, or relative to any of the roots, or else to the folder that the
                service was started in; or a URL under one.

        Raises:
            ConfigError: It lies outside of every root.
        """
        return _confined(name, self.stores, "store", "--store-root")

    def media_path(self, name: str) -> str:
        """Return the place of a media file, folder or manifest, absolute, links followed.

        Raises:
            ConfigError: It lies outside of every root.
        """
        return _confined(name, self.media, "media", "--media-root")


def _confined(name: str, roots: tuple[str, ...], field: str, flag: str) -> str:
    if "\0" in name:
        raise ConfigError(f"{field}: a path has no NUL in it.")
    found: list[str] = []
    for root in roots:
        if _URL.match(name) or _URL.match(root):
            base = root.rstrip("/")
            inside = name == base or name.startswith(base + "/")
            if _URL.match(root) and inside and ".." not in name.split("/"):
                return name
            continue
        base_path = Path(root).resolve()
        try:
            path = (base_path / name).resolve()  # an absolute name replaces the root
            is_there = path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, or links in a circle
            raise ConfigError(f"{field}: no file can be called that ({error}).") from None
        if path.is_relative_to(base_path):
            if is_there:
                return str(path)
            found.append(str(path))
    here = _here(name, roots)
    if here is not None:
        return here
    if found:
        return found[0]  # not there yet: extraction makes stores
    if not roots:
        raise ConfigError(
            f"{field} = {name!r}: this service has no folder for it; start it with {flag}."
        )
    raise ConfigError(f"{field} = {name!r}: outside of the folders of this service ({flag}).")


def _here(name: str, roots: tuple[str, ...]) -> str | None:
    """Return what a name means in the folder that the service was started in, if it is there.

    So a config that `scfae train` takes can be submitted as it is from the same folder.
    """
    folders = [Path(root).resolve() for root in roots if not _URL.match(root)]
    if not folders or _URL.match(name):
        return None
    path = Path(name).resolve()
    is_ours = any(path.is_relative_to(folder) for folder in folders)
    return str(path) if is_ours and path.exists() else None

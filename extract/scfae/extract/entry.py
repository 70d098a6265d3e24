"""One line of the table of encoders: what an encoder is before anything of it is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .recipe import MediaKind

if TYPE_CHECKING:
    from .encoder import EncoderSpec
    from .weights import Weights

Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """One encoder, of `families/` or of a plug-in.

    Attributes:
        name: Its name.
        modality: What its rows say.
        accepts: Kinds of media it reads, the preferred one first.
        dim: Features a row; 0 where that is the model's.
        rows_per_second: At the default options.
        licence: Of the weights.
        source: Upstream project.
        weights_file: Name of the published file.
        weights_hint: Where it comes from and where it goes.
        find: Returns the published file on this machine, or None.
        hub: The published file on the Hugging Face hub, `org/name/path`; empty if it is not there.
        has_widths: Whether its loader heeds `width`.
        is_trainable: Asked of the loader: the network with every layer that training needs.
        width: Asked of the loader: channels of the first stage; None is the published network.
        loader: `module:function`, called as `function(entry, weights, device, options)`; returns an
            `Encoder`, or a list where the options ask for several. A name, so that listing encoders
            imports none of them.
    """

    name: str
    modality: str
    accepts: tuple[MediaKind, ...]
    dim: int
    rows_per_second: float | None
    licence: str
    source: str
    weights_file: str
    weights_hint: str
    find: Callable[[], Path | None]
    loader: str
    hub: str = ""
    has_widths: bool = False
    is_trainable: bool = False
    width: int | None = None

    def find_here(self) -> Path | None:
        """Return the published weights on this machine, also from the hub's cache, or None."""
        found = self.find()
        if found is not None or not self.hub:
            return found
        from .hub import cached_file

        return cached_file(self.hub)

    def spec(
        self,
        weights: "Weights",
        *,
        options: Options,
        recipe: Options,
        packages: tuple[str, ...],
        rows_per_second: float | None,
        modality: MediaKind | None = None,
    ) -> "EncoderSpec":
        """Return what a loaded encoder of this entry is.

        Args:
            weights: Where they came from.
            options: The options that were given.
            recipe: Every constant of the pre-processing, options in force included.
            packages: Distributions whose version may change its numbers.
            rows_per_second: At these options.
            modality: The only kind of media to read, if the user said so.
        """
        from .encoder import EncoderSpec

        return EncoderSpec(
            name=self.name,
            modality=modality or self.modality,
            accepts=(modality,) if modality else self.accepts,
            dim=self.dim,
            rows_per_second=rows_per_second,
            recipe=recipe,
            packages=packages,
            licence=self.licence,
            source=self.source,
            options=options,
            weights=weights.source,
            weights_sha256=weights.sha256,
            is_random=weights.is_random,
        )

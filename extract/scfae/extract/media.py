"""One decode of one file, feeding every recipe: containers by PyAV, images by Pillow.

Every class of odd file has a rule: what is no regular file is refused before it is opened
(`files`), the streams are chosen and damage is survived packet by packet (`container`), every frame
gets a time (`clock`), what is lost is said in seconds (`losses`), and sound becomes mono at a rate
(`resampling`).
"""

from collections.abc import Mapping
from pathlib import Path

from scfae.store.atomic import sha256_file
from scfae.store.errors import MediaError

from .container import Container
from .decoders import DecoderName
from .fates import Decoded, Emit, Fate, Part
from .feeder import Feeder
from .files import check_regular, media_sha256
from .limits import Limits
from .manifest import media_kind
from .recipe import Recipe, VideoFrame
from .text_decoding import decode_text
from .texts import InlineText, MediaSource

__all__ = ["Decoded", "Emit", "Fate", "Part", "check_regular", "decode", "media_sha256"]


def decode(
    path: str | MediaSource,
    recipes: Mapping[str, Recipe],
    limits: Limits | None = None,
    *,
    emit: Emit | None = None,
    decoder: DecoderName = "pyav",
) -> Decoded:
    """Decode a file once and cut it for every recipe.

    Args:
        path: A video, a sound, an image or a text.
        recipes: By name, e.g. of the column.
        limits: The file's bounds; those on time and memory are the caller's to enforce.
        emit: Receives windows whenever some megabytes have come together; what it received is not
            in the result.
        decoder: Who decodes the pictures of videos.

    Returns:
        A fate for every recipe. Nothing is raised for a bad file.
    """
    if isinstance(path, InlineText):
        return Decoded(decode_text(path, recipes), path.sha256)
    path = Path(path)
    try:
        check_regular(path)
    except MediaError as error:
        return Decoded({name: Fate("failed", str(error)) for name in recipes})
    try:
        digest = sha256_file(path)
    except OSError as error:
        reason = f"cannot be read ({error.strerror}): {path}"
        return Decoded({name: Fate("failed", reason) for name in recipes})
    limits = limits or Limits()
    try:
        if all(recipe.kind == "text" for recipe in recipes.values()):
            return Decoded(decode_text(path, recipes), digest)
        if media_kind(path) == "image":
            return Decoded(_decode_image(path, recipes, limits), digest)
        fates, duration_s = Container(path, recipes, limits, emit=emit, decoder=decoder).run()
    except MediaError as error:
        return Decoded({name: Fate("failed", str(error)) for name in recipes}, digest)
    return Decoded(fates, digest, duration_s)


def _decode_image(path: Path, recipes: Mapping[str, Recipe], limits: Limits) -> dict[str, Fate]:
    from .picture import read_picture

    feeder = Feeder({name: one for name, one in recipes.items() if one.kind != "audio"}, None)
    fates = {name: Fate("missing", "an image has no sound") for name in recipes}
    pixels = read_picture(path, limits)
    feeder.begin("video")
    feeder.push_picture(VideoFrame(pixels, 0.0, 0.0))
    feeder.end()
    for name, recipe in recipes.items():
        if recipe.kind != "audio":
            fates[name] = Fate(windows=feeder.windows(name))
    return fates

"""From decoded frames and sound to the windows of every recipe, in parts of bounded size."""

from collections.abc import Mapping

from .fates import Emit, Part
from .recipe import AudioChunk, Cutter, Recipe, StreamInfo, VideoFrame, Window

_PART_BYTES = 4 << 20


class Feeder:
    """Feeds the one decode of a file to all recipes.

    Args:
        recipes: By name.
        emit: Receives windows whenever some megabytes have come together; None keeps them all.
    """

    def __init__(self, recipes: Mapping[str, Recipe], emit: Emit | None) -> None:
        self._recipes = recipes
        self._emit = emit
        self._cutters: dict[str, Cutter] = {}
        self._windows: Part = {name: [] for name in recipes}
        self._fed: set[str] = set()
        self._held_bytes = 0

    @property
    def kinds(self) -> set[str]:
        """Which streams the recipes want: video (also for images), audio."""
        return {_stream_kind(recipe) for recipe in self._recipes.values()}

    @property
    def rates_hz(self) -> set[int]:
        """The sample rates that the recipes want."""
        return {
            recipe.sample_rate_hz
            for recipe in self._recipes.values()
            if recipe.kind == "audio" and recipe.sample_rate_hz is not None
        }

    @property
    def wants_num_frames(self) -> bool:
        """Whether a recipe asks for the number of pictures before the first of them."""
        return any(getattr(r, "wants_num_frames", False) for r in self._recipes.values())

    def begin(
        self, kind: str, frame_rate_hz: float | None = None, num_frames: int | None = None
    ) -> None:
        """Begin the stream of a kind."""
        for name, recipe in self._recipes.items():
            if _stream_kind(recipe) == kind:
                info = StreamInfo(recipe.kind, frame_rate_hz, recipe.sample_rate_hz, num_frames)
                self._cutters[name] = recipe.begin(info)

    def push_picture(self, frame: VideoFrame) -> None:
        """Take one picture."""
        for name, cutter in self._cutters.items():
            if self._recipes[name].kind != "audio":
                self._keep(name, cutter.push(frame))

    def push_sound(self, rate_hz: int, chunk: AudioChunk) -> None:
        """Take some sound at one of `rates_hz`."""
        for name, cutter in self._cutters.items():
            if (
                self._recipes[name].kind == "audio"
                and self._recipes[name].sample_rate_hz == rate_hz
            ):
                self._keep(name, cutter.push(chunk))

    def end(self) -> None:
        """End all streams."""
        for name, cutter in self._cutters.items():
            self._keep(name, cutter.end())

    def has_fed(self, name: str) -> bool:
        """Return whether a recipe has had a window."""
        return name in self._fed

    def windows(self, name: str) -> list[Window]:
        """Return the windows of a recipe that were not emitted."""
        return self._windows[name]

    def _keep(self, name: str, windows: list[Window]) -> None:
        for window in windows:
            self._windows[name].append(window)
            self._fed.add(name)
            self._held_bytes += window.array.nbytes
            if self._emit is not None and self._held_bytes >= _PART_BYTES:
                self._emit(self._windows)
                self._windows = {name: [] for name in self._recipes}
                self._held_bytes = 0


def _stream_kind(recipe: Recipe) -> str:
    return "audio" if recipe.kind == "audio" else "video"

"""What prepares the input of a model of transformers: the library's own processors.

Pictures are prepared in the decoding children, as bytes of their full size would be far more to
carry than a network's input. The processors are torch's, so a child that works for such a model
imports torch: those of all other encoders do not.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoVideoProcessor
from transformers.video_processing_utils import BaseVideoProcessor

ProcessorKind = Literal["image", "video", "audio"]


@lru_cache(maxsize=8)
def processor_of(folder: str, kind: ProcessorKind) -> Any:
    """Return the processor of a model's folder; nothing in the folder is run.

    Raises:
        OSError, ValueError: If there is none of this kind.
    """
    auto: Any = AutoFeatureExtractor
    if kind != "audio":
        is_video = kind == "video" and _has_video_processor(Path(folder))
        auto = AutoVideoProcessor if is_video else AutoImageProcessor
    return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def processor_recipe(processor: Any) -> dict[str, Any]:
    """Return what a column records of a processor: its class, every setting, and their digest."""
    settings = json.loads(processor.to_json_string())
    text = json.dumps(settings, sort_keys=True)
    return {
        "processor": type(processor).__name__,
        "processor_settings": settings,
        "processor_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


@dataclass(frozen=True, slots=True)
class PictureProcessor:
    """From one picture, or one frame of a video, to what the network reads.

    It is loaded when it arrives in a child, before the time of the first file begins.

    Attributes:
        folder: Of the model.
        kind: `video` for frames: the steps are the same for every frame.
    """

    folder: str
    kind: ProcessorKind

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again."""
        return _loaded, (self.folder, self.kind)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return a picture `[H, W, 3]` as float32 `[3, h, w]`.

        Raises:
            ValueError: If the processor gives something else.
        """
        processor = processor_of(self.folder, self.kind)
        if isinstance(processor, BaseVideoProcessor):
            found = processor(videos=[pixels[None]], return_tensors="pt", do_sample_frames=False)
        else:
            found = processor(
                images=[pixels], return_tensors="pt", input_data_format="channels_last"
            )
        name = next((key for key in ("pixel_values", "pixel_values_videos") if key in found), None)
        array = None if name is None else found[name].float().numpy()
        if array is None or array.ndim < 3 or array.size != np.prod(array.shape[-3:]):
            shape = None if array is None else list(array.shape)
            raise ValueError(
                f"{type(processor).__name__} gives {sorted(found)} of {shape}, no single picture"
            )
        return np.ascontiguousarray(array.reshape(array.shape[-3:]), dtype=np.float32)


def _loaded(folder: str, kind: ProcessorKind) -> PictureProcessor:
    processor_of(folder, kind)
    return PictureProcessor(folder, kind)


def _has_video_processor(folder: Path) -> bool:
    if (folder / "video_preprocessor_config.json").is_file():
        return True
    joint = folder / "processor_config.json"
    return joint.is_file() and "video_processor" in json.loads(joint.read_text(encoding="utf-8"))

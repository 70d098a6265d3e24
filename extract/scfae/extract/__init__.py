"""Stage one: raw media to encoder features, once, into the columns of a store.

Names are imported when they are first used: listing encoders needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoder import Encoder, EncoderSpec
    from .entry import EncoderEntry
    from .job import ExtractionInterrupted, extract
    from .limits import Limits
    from .manifest import MediaItem, media_kind, read_inputs
    from .recipe import AudioChunk, MediaKind, Recipe, StreamInfo, VideoFrame, Window
    from .registry import (
        EncoderInfo,
        EncoderRequest,
        list_encoders,
        load_encoder,
        load_encoders,
        open_names,
        parse_encoder,
    )
    from .report import ExtractReport

_MODULES = {
    "AudioChunk": "recipe",
    "Encoder": "encoder",
    "EncoderEntry": "entry",
    "EncoderInfo": "registry",
    "EncoderRequest": "registry",
    "EncoderSpec": "encoder",
    "ExtractReport": "report",
    "ExtractionInterrupted": "job",
    "Limits": "limits",
    "MediaItem": "manifest",
    "MediaKind": "recipe",
    "Recipe": "recipe",
    "StreamInfo": "recipe",
    "VideoFrame": "recipe",
    "Window": "recipe",
    "extract": "job",
    "list_encoders": "registry",
    "load_encoder": "registry",
    "load_encoders": "registry",
    "media_kind": "manifest",
    "open_names": "registry",
    "parse_encoder": "registry",
    "read_inputs": "manifest",
}

__all__ = [
    "AudioChunk",
    "Encoder",
    "EncoderEntry",
    "EncoderInfo",
    "EncoderRequest",
    "EncoderSpec",
    "ExtractReport",
    "ExtractionInterrupted",
    "Limits",
    "MediaItem",
    "MediaKind",
    "Recipe",
    "StreamInfo",
    "VideoFrame",
    "Window",
    "extract",
    "list_encoders",
    "load_encoder",
    "load_encoders",
    "media_kind",
    "open_names",
    "parse_encoder",
    "read_inputs",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value

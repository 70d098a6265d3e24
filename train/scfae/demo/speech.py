"""Real speech synthesis without a network: espeak-ng through the package `espeakng-loader`.

The library is GPL-3, so it is called here and nowhere else, and nothing of it is bundled.
It keeps one voice and one callback for the whole process: use one `Speaker` at a time.
"""

import ctypes
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scfae.store.errors import ConfigError

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Voice(NamedTuple):
    """One way of speaking.

    Attributes:
        name: An espeak-ng voice, e.g. `en-us+f3`.
        words_per_minute: Speed, 80-450.
        pitch: 0-100.
    """

    name: str
    words_per_minute: int
    pitch: int


class Speaker:
    """Says words as samples.

    Attributes:
        sample_rate_hz: Rate of what `say` returns (22050).
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ConfigError(
                "the demo speaks through espeakng-loader, which is not installed: "
                "pip install 'scfae[demo]'"
            ) from error
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        # espeak wants the folder that holds espeak-ng-data, not that folder itself.
        data = str(Path(espeakng_loader.get_data_path()).parent).encode()
        rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, _DONT_EXIT)
        if rate <= 0:
            raise ConfigError(f"espeak-ng did not start with its data in {data.decode()}")
        self.sample_rate_hz: int = rate
        self._heard = bytearray()
        self._callback = _Callback(self._hear)  # the library keeps only a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def _hear(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            self._heard += ctypes.string_at(samples, 2 * count)
        return 0

    def say(self, text: str, voice: Voice) -> npt.NDArray[np.float32]:
        """Return `text` spoken, float32 `[samples]` in [-1, 1].

        Raises:
            ConfigError: If espeak-ng has no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ConfigError(f"espeak-ng has no voice '{voice.name}'")
        self._library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        self._heard.clear()
        spoken = text.encode() + b"\0"
        self._library.espeak_Synth(
            spoken, len(spoken), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        self._library.espeak_Synchronize()
        return np.frombuffer(bytes(self._heard), dtype=np.int16).astype(np.float32) / 32768.0

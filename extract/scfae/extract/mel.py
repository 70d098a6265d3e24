"""Mel power spectrogram of a stream of sound, as librosa defines it: slaney scale and norm.

Frames are centred, the ends reflected. Sound is taken in pieces of any length and only what later
frames need is held.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# The slaney scale: linear to 1 kHz, 27 logarithmic steps to 6.4 kHz.
_LINEAR_HZ = 200.0 / 3
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


def mel_filters(sample_rate_hz: int, fft_samples: int, num_mels: int) -> npt.NDArray[np.float64]:
    """Return triangular filters `[mels, fft_samples // 2 + 1]` from 0 to half the sample rate.

    Each has area 1 over frequency (Slaney, Auditory Toolbox, 1998).
    """
    top = _to_mel(np.array(sample_rate_hz / 2))
    edges = _to_hz(np.linspace(0.0, float(top), num_mels + 2))
    places = np.fft.rfftfreq(fft_samples, 1.0 / sample_rate_hz)
    rising = (places - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - places) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: npt.NDArray[np.float64] = triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters


def _to_mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _BREAK_HZ / _LINEAR_HZ + np.log(np.maximum(hz, 1e-9) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ, above)


def _to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    at_break = _BREAK_HZ / _LINEAR_HZ
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - at_break))
    return np.where(mel < at_break, mel * _LINEAR_HZ, above)


class MelStream:
    """Sound in, mel frames out.

    Frame `k` is centred on sample `k * hop_samples`; there are `1 + samples // hop_samples`.

    Args:
        sample_rate_hz: Rate of the sound.
        fft_samples: Length of the Hann window and of the transform; even.
        hop_samples: From one frame to the next; less than half of `fft_samples`.
        num_mels: Bands.
    """

    def __init__(
        self, sample_rate_hz: int, *, fft_samples: int, hop_samples: int, num_mels: int
    ) -> None:
        if not 0 < 2 * hop_samples < fft_samples:
            # What is held between frames would not reach for the reflection at the end.
            raise ValueError(f"a hop of {hop_samples} is not below half of {fft_samples} samples")
        self._fft = fft_samples
        self._hop = hop_samples
        self._filters = mel_filters(sample_rate_hz, fft_samples, num_mels).astype(np.float32)
        turns = np.arange(fft_samples) / fft_samples
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)
        self._held: Floats = np.empty(0, dtype=np.float32)
        self._has_begun = False

    @property
    def shortest_samples(self) -> int:
        """Samples below which the ends cannot be reflected."""
        return self._fft // 2 + 1

    def push(self, samples: Floats) -> Floats:
        """Return the frames `[frames, mels]` that these samples complete."""
        self._held = np.concatenate([self._held, samples])
        if not self._has_begun:
            if len(self._held) < self.shortest_samples:
                return self._frames(0)
            start = self._held[1 : self.shortest_samples][::-1]
            self._held = np.concatenate([start, self._held])
            self._has_begun = True
        return self._frames(max(0, (len(self._held) - self._fft) // self._hop + 1))

    def end(self) -> Floats:
        """Return the last frames `[frames, mels]`; none if the sound was too short."""
        if not self._has_begun:
            return self._frames(0)
        reach = self._fft // 2
        self._held = np.concatenate([self._held, self._held[-reach - 1 : -1][::-1]])
        return self._frames(max(0, (len(self._held) - self._fft) // self._hop + 1))

    def _frames(self, count: int) -> Floats:
        if not count:
            return np.empty((0, len(self._filters)), dtype=np.float32)
        pieces = np.lib.stride_tricks.sliding_window_view(self._held, self._fft)
        spectrum = np.fft.rfft(pieces[: count * self._hop : self._hop] * self._window, axis=1)
        self._held = self._held[count * self._hop :]
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        mel: Floats = power @ self._filters.T
        return mel

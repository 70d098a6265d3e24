"""Mel spectrograms of streams: pieces do not matter, and the numbers are those of the libraries."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import stft
from torchaudio.functional import melscale_fbanks

from scfae.extract.mel import MelStream, mel_filters

Floats = npt.NDArray[np.float32]
RATE_HZ = 16_000


def noise(samples: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def run(samples: Floats, cuts: list[int], **shape: int) -> Floats:
    stream = MelStream(RATE_HZ, **shape)
    frames = [stream.push(piece) for piece in np.split(samples, sorted(cuts))]
    return np.concatenate([*frames, stream.end()])


@pytest.mark.parametrize(("rate_hz", "fft", "mels"), [(16_000, 400, 40), (22_050, 512, 64)])
def test_filters_are_those_of_slaney(rate_hz: int, fft: int, mels: int) -> None:
    wanted = melscale_fbanks(
        fft // 2 + 1, f_min=0.0, f_max=rate_hz / 2, n_mels=mels, sample_rate=rate_hz,
        norm="slaney", mel_scale="slaney",
    ).numpy()  # fmt: skip
    np.testing.assert_allclose(mel_filters(rate_hz, fft, mels).T, wanted, atol=1e-6)


@pytest.mark.parametrize(("fft", "hop", "mels"), [(400, 160, 40), (64, 20, 8), (128, 63, 10)])
def test_frames_are_those_of_scipy(fft: int, hop: int, mels: int) -> None:
    samples = noise(5_000)
    padded = np.pad(samples.astype(np.float64), fft // 2, mode="reflect")
    window = np.hanning(fft + 1)[:-1]
    _, _, spectrum = stft(
        padded, window=window, nperseg=fft, noverlap=fft - hop, boundary=None, padded=False
    )
    power = np.abs(spectrum * window.sum()) ** 2
    wanted = power.T @ mel_filters(RATE_HZ, fft, mels).T
    found = run(samples, [], fft_samples=fft, hop_samples=hop, num_mels=mels)
    assert found.shape == (1 + len(samples) // hop, mels)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * wanted.max())


@given(
    total=st.integers(0, 700),
    hop=st.integers(1, 31),
    data=st.data(),
)
def test_pieces_do_not_matter(total: int, hop: int, data: st.DataObject) -> None:
    shape = {"fft_samples": 64, "hop_samples": hop, "num_mels": 6}
    cuts = data.draw(st.lists(st.integers(0, total), max_size=12))
    samples = noise(total)
    whole = run(samples, [], **shape)
    # A product of matrices may round by their size: not bit for bit.
    np.testing.assert_allclose(run(samples, cuts, **shape), whole, rtol=1e-4, atol=1e-6)
    assert len(whole) == (0 if total < 33 else 1 + total // hop)


def test_a_long_stream_is_not_held() -> None:
    stream = MelStream(RATE_HZ, fft_samples=400, hop_samples=160, num_mels=40)
    for seed in range(50):
        stream.push(noise(1_000, seed))
        assert len(stream._held) < 400 + 160 + 1_000


def test_a_tone_is_in_its_band() -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 1_000 * time_s).astype(np.float32)
    frames = run(tone, [], fft_samples=400, hop_samples=160, num_mels=40)
    filters = mel_filters(RATE_HZ, 400, 40)
    assert set(frames[5:-5].argmax(axis=1)) == {int(filters[:, 25].argmax())}  # 25 is 1 kHz


@pytest.mark.parametrize("hop", [0, 200, 400])
def test_a_hop_that_leaves_nothing_to_reflect_is_refused(hop: int) -> None:
    with pytest.raises(ValueError, match=f"a hop of {hop}"):
        MelStream(RATE_HZ, fft_samples=400, hop_samples=hop, num_mels=40)

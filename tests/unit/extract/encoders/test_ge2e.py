"""GE2E against torch's own LSTM and a mel spectrogram by scipy."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import resample_poly, stft
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from scfae.extract import Encoder, load_encoder
from scfae.store.errors import StreamMissing

from .. import media_kit as kit
from . import official

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def state() -> official.State:
    return official.ge2e(6)


@pytest.fixture(scope="module")
def lstm(state: official.State) -> nn.LSTM:
    network = nn.LSTM(40, 256, 3, batch_first=True).eval()
    network.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("lstm.")})
    return network


@pytest.fixture(scope="module")
def encoder(state: official.State, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    path = tmp_path_factory.mktemp("weights") / "pretrained.pt"
    return load_encoder("ge2e", weights=official.save(path, {"step": 1, "model_state": state}))


def test_numbers_are_those_of_an_lstm(
    state: official.State, lstm: nn.LSTM, encoder: Encoder
) -> None:
    x = torch.rand(3, 160, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens = encoder.forward(x)
        states, (last, _) = lstm(x)
        pooled = encoder.pool(tokens)
        projected = F.relu(F.linear(last[-1], state["linear.weight"], state["linear.bias"]))
        assert official.largest(tokens - states) <= 2e-5
        assert official.largest(pooled - projected / projected.norm(dim=1, keepdim=True)) <= 1e-5
        for i in range(3):
            assert official.largest(encoder.forward(x[i : i + 1])[0] - tokens[i]) <= 1e-5


def test_what_would_go_wrong_unseen_shows(
    state: official.State, lstm: nn.LSTM, encoder: Encoder
) -> None:
    x = torch.rand(2, 160, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pooled = encoder.pool(encoder.forward(x))
        states, (last, _) = lstm(x)

        def embedding(hidden: Tensor) -> Tensor:
            linear = F.linear(hidden, state["linear.weight"], state["linear.bias"])
            return F.normalize(F.relu(linear), dim=1)

        linear = F.linear(last[-1], state["linear.weight"], state["linear.bias"])
        wrong = {
            "a lower layer": embedding(last[0]),
            "mean over time": embedding(states.mean(dim=1)),
            "no activation": F.normalize(linear, dim=1),
            "no normalisation": F.relu(linear),
        }
    assert official.largest(pooled - embedding(last[-1])) <= 1e-5
    for mistake, other in wrong.items():
        assert official.largest(pooled - other) > 1e-3, mistake


@pytest.mark.parametrize("wrapper", list(official.WRAPPERS))
def test_every_wrapper_gives_the_same_numbers(
    state: official.State, encoder: Encoder, wrapper: str, tmp_path: Path
) -> None:
    path = official.save(tmp_path / "w.pt", official.WRAPPERS[wrapper](state))
    other = load_encoder("ge2e", weights=path).module.state_dict()
    assert all(torch.equal(v, other[k]) for k, v in encoder.module.state_dict().items())


def mel(samples: Floats) -> Floats:
    """Return power mel frames `[frames, 40]` by scipy and torchaudio, as librosa defines them."""
    window = np.hanning(401)[:-1]
    padded = np.pad(samples.astype(np.float64), 200, mode="reflect")
    _, _, spectrum = stft(
        padded, window=window, nperseg=400, noverlap=240, boundary=None, padded=False
    )
    filters = melscale_fbanks(
        201, f_min=0.0, f_max=8_000.0, n_mels=40, sample_rate=16_000, norm="slaney",
        mel_scale="slaney",
    ).numpy()  # fmt: skip
    power = np.abs(spectrum * window.sum()) ** 2
    return np.asarray(power.T @ filters, dtype=np.float32)


def rows_of(lstm: nn.LSTM, frames: Floats) -> Floats:
    """Return the states of windows of 160 frames every 80; but for the first, the later half."""
    rows: list[Floats] = []
    with torch.inference_mode():
        for first in range(0, len(frames), 80):
            piece = torch.from_numpy(frames[first : first + 160])[None]
            states = lstm(piece)[0][0].numpy()
            rows.append(states if first == 0 else states[80:])
            if first + 160 >= len(frames):
                break
    return np.concatenate(rows)


def noise(seconds: float, loudness: float = 0.2, seed: int = 0) -> Floats:
    random = np.random.default_rng(seed)
    samples = round(seconds * 16_000)
    swell = 0.3 + np.abs(np.sin(np.arange(samples) / 5_000))
    return (loudness * swell * random.normal(size=samples)).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.0127, 0.3, 1.6, 1.605, 2.4, 2.41, 5.0])
def test_a_file_gives_the_references_numbers(
    lstm: nn.LSTM, encoder: Encoder, tmp_path: Path, seconds: float
) -> None:
    sound = noise(seconds)
    rows, times = encoder.extract(kit.write_float_wav(tmp_path / "a.wav", sound))
    count = -(-len(sound) // 160)
    assert rows.shape == (count, 256)
    wanted = rows_of(lstm, mel(sound)[:count])
    np.testing.assert_allclose(rows, wanted, atol=2e-5)
    np.testing.assert_allclose(times[:, 0], np.arange(count) / 100, atol=1e-9)
    np.testing.assert_allclose(times[:, 1], (np.arange(count) + 1) / 100, atol=1e-9)


def test_quiet_sound_is_brought_up_and_loud_sound_stays(
    lstm: nn.LSTM, encoder: Encoder, tmp_path: Path
) -> None:
    quiet = noise(1.0, loudness=0.001)
    rows, _ = encoder.extract(kit.write_float_wav(tmp_path / "q.wav", quiet))
    level = np.sqrt(np.mean(quiet.astype(np.float64) ** 2))
    louder = (quiet * (10 ** (-30 / 20) / level)).astype(np.float32)
    np.testing.assert_allclose(rows, rows_of(lstm, mel(louder)[:100]), atol=2e-5)
    assert np.abs(rows - rows_of(lstm, mel(quiet)[:100])).max() > 0.01


def test_the_logarithm_of_mel_would_show(lstm: nn.LSTM, encoder: Encoder, tmp_path: Path) -> None:
    sound = noise(1.0)
    rows, _ = encoder.extract(kit.write_float_wav(tmp_path / "a.wav", sound))
    assert np.abs(rows - rows_of(lstm, np.log(mel(sound)[:100] + 1e-6))).max() > 0.01


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 2), (8_000, 1), (48_000, 6)])
def test_other_rates_and_channels_become_16_khz_mono(
    encoder: Encoder, tmp_path: Path, rate_hz: int, channels: int
) -> None:
    odd = encoder.extract(kit.write_wav(tmp_path / "odd.wav", 1.0, rate_hz, channels))[0]
    tone = resample_poly(kit.tone(1.0, rate_hz)[0], 16_000 * 1, rate_hz).astype(np.float32)
    plain = encoder.extract(kit.write_float_wav(tmp_path / "plain.wav", tone))[0]
    assert odd.shape == plain.shape == (100, 256)
    np.testing.assert_allclose(odd[5:90], plain[5:90], atol=0.02)


def test_less_than_an_analysis_window_is_missing(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(StreamMissing, match="too short"):
        encoder.extract(kit.write_wav(tmp_path / "a.wav", 200 / 16_000))
    rows, _ = encoder.extract(kit.write_wav(tmp_path / "b.wav", 201 / 16_000))
    assert rows.shape == (2, 256)


def test_silence_has_finite_features(encoder: Encoder, tmp_path: Path) -> None:
    path = kit.write_float_wav(tmp_path / "a.wav", np.zeros(16_000, dtype=np.float32))
    assert np.isfinite(encoder.extract(path)[0]).all()


def test_sound_of_a_video_keeps_its_clock(encoder: Encoder, tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mkv", frames=50, sound_s=1.0, sound_starts_s=0.5)
    rows, times = encoder.extract(path)
    assert times[0, 0] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(np.diff(times[:, 0]), 0.01, atol=1e-9)
    assert len(rows) == len(times)


def test_published_weights_have_embeddings_of_length_one() -> None:
    encoder: Any = load_encoder("ge2e")
    assert (encoder.spec.weights, encoder.spec.is_random) == ("published", False)
    x: Tensor = torch.rand(2, 160, 40)
    with torch.inference_mode():
        pooled = encoder.pool(encoder.forward(x))
    assert torch.allclose(pooled.norm(dim=1), torch.ones(2), atol=1e-6)

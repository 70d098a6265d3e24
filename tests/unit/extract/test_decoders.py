"""The other decoders: the same pictures at the same times on whole files, or a clear refusal."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from scfae.extract import extract
from scfae.extract.clips import ClipRecipe
from scfae.extract.decoder_pool import DecoderPool, Request
from scfae.extract.decoders import DECODERS, DecoderName, check_decoder
from scfae.extract.fates import Decoded, Fate
from scfae.extract.plan import plan_columns
from scfae.extract.recipe import Recipe, Window
from scfae.extract.registry import load_encoder
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError

from . import media_kit as kit
from . import odd_media as odd
from .recorders import Pictures, Sound
from .small_jobs import run

WHOLE: dict[str, Callable[[Path], object]] = {
    "clip.mp4": kit.write_clip,
    "clip.mkv": kit.write_clip,
    "late.mkv": lambda p: kit.write_clip(p, frames=50, sound_starts_s=0.7),
    "broadcast.ts": kit.write_clip,
    "vp9.webm": lambda p: odd.write_pictures(p, "libvpx-vp9"),
    "hevc.mp4": lambda p: odd.write_pictures(
        p, "libx265", options={"x265-params": "log-level=none"}
    ),
    "full-chroma.mp4": lambda p: odd.write_pictures(p, "libx264", "yuv444p"),
    "ten-bit.mkv": lambda p: odd.write_pictures(p, "ffv1", "yuv420p10le"),
    "odd-size.mkv": lambda p: odd.write_pictures(p, "ffv1", "yuv444p", size=(63, 47)),
}
ODD: dict[str, Callable[[Path], object]] = {
    "rotated.mp4": kit.write_rotated,
    "uneven.mkv": lambda p: kit.write_clip(p, times_ms=[0, 40, 500, 1500], sound_s=None),
    "edit-list.mp4": odd.write_early,
    "changing-size.ts": kit.write_changing_size,
    "two-streams.mkv": odd.write_two_streams,
}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for name, make in (WHOLE | ODD).items():
        make(folder / name)
    long = odd.long_clip(folder / "hurt.mp4")
    first = odd.media_start_share(long)
    odd.overwrite(long, first + (1 - first) * 0.5, first + (1 - first) * 0.6)
    return folder


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lend PyAV's own FFmpeg, under the names that torchcodec looks for, to decoding children."""
    libraries = Path(av.__file__).parent.parent / "av.libs"
    names = ("avcodec", "avformat", "avutil", "avfilter", "avdevice", "swscale", "swresample")
    lent = tmp_path / "ffmpeg"
    lent.mkdir()
    for name in names:
        found = next(libraries.glob(f"lib{name}-*.so.*"), None)
        if found is None:
            pytest.skip("this PyAV was not installed from a wheel")
        major = found.name.split(".so.")[1].split(".")[0]
        (lent / f"lib{name}.so.{major}").symlink_to(found)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{lent}:{libraries}")


def decode_all(media: Path, decoder: DecoderName, names: Any) -> dict[str, dict[str, Fate]]:
    recipes: dict[str, Recipe] = {"v": Pictures(), "a": Sound()}
    with DecoderPool(1, decoder=decoder) as pool:
        messages = pool.decode(Request(media / name, recipes) for name in names)
        ends = [one.fates for one in messages if isinstance(one, Decoded)]
    return dict(zip(names, ends, strict=True))


def assert_same(found: Fate, wanted: Fate) -> None:
    assert (found.status, found.reason) == (wanted.status, wanted.reason)
    assert len(found.windows) == len(wanted.windows) > 0
    for one, other in zip(found.windows, wanted.windows, strict=True):
        np.testing.assert_array_equal(one.array, other.array)
        np.testing.assert_allclose(one.times, other.times, atol=1e-5)


def test_decord_gives_the_same_pictures_and_times(media: Path) -> None:
    wanted = decode_all(media, "pyav", WHOLE)
    found = decode_all(media, "decord", [*WHOLE, *ODD, "hurt.mp4"])
    for name in WHOLE:
        assert_same(found[name]["v"], wanted[name]["v"])
        assert found[name]["a"].status == wanted[name]["a"].status
    for name, why in {
        "rotated.mp4": "another first picture",
        "uneven.mkv": "times that cannot be true",
        "edit-list.mp4": "times that cannot be true",
        "changing-size.ts": "times that cannot be true",
        "two-streams.mkv": "which of 2 video streams",
        "hurt.mp4": "a damaged picture",
    }.items():
        fate = found[name]["v"]
        assert fate.status == "failed"
        assert why in str(fate.reason)
        assert "use --decoder pyav" in str(fate.reason)
    assert found["two-streams.mkv"]["a"].status == "ok"  # sound is PyAV's


@pytest.mark.usefixtures("ffmpeg")
def test_torchcodec_gives_the_same_pictures_and_times(media: Path) -> None:
    names = [*WHOLE, *ODD]
    wanted, found = (decode_all(media, one, names) for one in ("pyav", "torchcodec"))
    for name in names:
        assert_same(found[name]["v"], wanted[name]["v"])


def first_shown_s(path: Path) -> float:
    with av.open(str(path)) as container:
        frame: Any = next(container.decode(video=0))
        return float(frame.pts * frame.time_base)


@pytest.mark.usefixtures("ffmpeg")
def test_all_decoders_take_the_same_frames_for_a_centred_clip(tmp_path: Path) -> None:
    starts_ms = {"clip.mp4": 0, "clip.mkv": 0, "late.mkv": 700, "broadcast.ts": 0}
    paths = [
        kit.write_clip(tmp_path / name, times_ms=range(start, start + 91 * 40, 40), sound_s=None)
        for name, start in starts_ms.items()
    ]
    recipes: dict[str, Recipe] = {
        "v": ClipRecipe(16, 4, stride=None, stride_s=None, fps=None, resize="squash")
    }
    found: dict[str, list[Window]] = {}
    for decoder in DECODERS:
        with DecoderPool(1, decoder=decoder) as pool:
            ends = list(pool.decode(Request(path, recipes) for path in paths))
        fates = [one.fates["v"] for one in ends if isinstance(one, Decoded)]
        assert [fate.status for fate in fates] == ["ok"] * 4
        found[decoder] = [window for fate in fates for window in fate.windows]
    first = (64 + 91) // 2 - 64  # the centred span of 64 frames, by upstream's rule
    for path, window in zip(paths, found["pyav"], strict=True):
        assert window.times[0, 0] == pytest.approx(first_shown_s(path) + first / 25, abs=2e-3)
    for decoder in ("decord", "torchcodec"):
        for one, other in zip(found[decoder], found["pyav"], strict=True):
            np.testing.assert_array_equal(one.array, other.array)
            np.testing.assert_allclose(one.times, other.times, atol=1e-5)


def test_a_column_records_its_decoder(media: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"id,video\na,{media / 'clip.mp4'}\n")
    for decoder in ("pyav", "decord"):
        run(tmp_path / "m.csv", tmp_path / decoder, ["efficientnet-lite0"], decoder=decoder)
    pyav, decord = (
        FeatureStore.open(tmp_path / name).column("efficientnet-lite0") for name in DECODERS[:2]
    )
    np.testing.assert_array_equal(pyav.rows(0), decord.rows(0))
    assert (pyav.info.recipe["decoder"], decord.info.recipe["decoder"]) == ("pyav", "decord")
    assert decord.info.versions["decord"]
    assert pyav.info.fingerprint != decord.info.fingerprint


def test_sound_is_decoded_alike_and_records_its_rule() -> None:
    encoder = load_encoder("ge2e")
    for decoder in DECODERS[:2]:
        columns = plan_columns(
            [encoder], dtype="float32", column_as=None, batch_size=1, threads=1, decoder=decoder
        )
        info = columns["ge2e"].info
        assert "mean of all channels" in info.recipe["sound"]
        assert "decoder" not in info.recipe
        assert "decord" not in info.versions


def test_an_absent_decoder_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="must be one of pyav, decord, torchcodec"):
        check_decoder("ffmpeg")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("decord", "torchcodec"):
        with pytest.raises(ConfigError, match=rf"pip install 'scfae\[{name}\]'"):
            extract(tmp_path, tmp_path / "store", ["ge2e"], decoder=name)


def test_torchcodec_without_ffmpeg_says_what_it_needs() -> None:
    torchcodec = pytest.importorskip("torchcodec")
    if torchcodec.ffmpeg_major_version is not None:
        check_decoder("torchcodec")
        return
    with pytest.raises(ConfigError, match="finds no FFmpeg libraries"):
        check_decoder("torchcodec")

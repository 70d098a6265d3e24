"""Batches: padded, exactly zero where nothing is, and read front to back."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from scfae.store import Batch, MemoryView
from scfae.store.buffers import BufferRing, Buffers, FreshBuffers
from scfae.store.collate import Collator
from scfae.store.crop import Crop
from scfae.store.errors import SchemaMismatch
from scfae.store.facts import Facts

LENGTHS = {"video": [2, 0, 3, 1], "audio": [1, 4, 0, 2]}
DIMS = {"video": 3, "audio": 2}


class Watched(MemoryView):
    """Keeps what was read, in order."""

    def __init__(self, dtype: str = "float32", **labels: Any) -> None:
        random = np.random.default_rng(0)
        features = {
            m: [random.normal(size=(T, DIMS[m])).astype(dtype) + 10 for T in LENGTHS[m]]
            for m in DIMS
        }
        super().__init__(["a", "b", "c", "d"], features, labels=labels)
        self.read: list[tuple[str, int]] = []

    def rows(self, i: int, modality: str) -> npt.NDArray[Any]:
        self.read.append((modality, i))
        return super().rows(i, modality)


def make(
    view: MemoryView, positions: list[int], present: npt.ArrayLike | None = None, **settings: Any
) -> Batch:
    return read(collator(view, **settings), view, positions, present)


def read(
    made: Collator, view: MemoryView, positions: list[int], present: npt.ArrayLike | None = None
) -> Batch:
    chosen = np.array(positions, dtype=np.int64)
    kept = view.available[chosen] if present is None else np.array(present, dtype=bool)
    keys = np.zeros(len(chosen), np.uint64)
    (prepared,) = made.prepare([chosen], kept, keys=keys, seed=0, epoch=0)
    return made.collate(prepared, seed=0, epoch=0)[0]


def collator(view: MemoryView, **settings: Any) -> Collator:
    crop = Crop.parse(
        settings.pop("crop", None),
        settings.pop("stride", None),
        settings.pop("crop_at", "center"),
        view.modalities,
    )
    pins = settings.get("pin_memory", False)
    buffers: dict[str, Buffers] = {
        m: FreshBuffers() if pins else BufferRing(2) for m in view.modalities
    }
    return Collator(view, Facts.of(view), buffers=buffers, crop=crop, **settings)


def test_rows_are_padded_with_zeros_in_the_order_of_the_batch() -> None:
    view = Watched()
    batch = make(view, [3, 0, 2, 1])
    assert batch.ids == ["d", "a", "c", "b"]
    assert len(batch) == 4
    for modality, dim in DIMS.items():
        lengths = [LENGTHS[modality][i] for i in (3, 0, 2, 1)]
        features = batch.features[modality]
        assert features.shape == (4, max(lengths), dim)
        assert batch.lengths[modality].tolist() == lengths
        for b, i in enumerate((3, 0, 2, 1)):
            stored = torch.from_numpy(MemoryView.rows(view, i, modality))
            assert torch.equal(features[b, : lengths[b]], stored)
            assert (features[b, lengths[b] :] == 0).all()


def test_dtypes_and_modalities_are_those_promised() -> None:
    batch = make(Watched("float16", digit=[1, 2, 3, 4]), [0, 1])
    assert batch.features["video"].dtype == torch.float32
    assert batch.lengths["video"].dtype == torch.int64
    assert batch.present.dtype == torch.bool
    assert batch.modalities == ("video", "audio")
    assert batch.present.tolist() == [[True, True], [False, True]]


def test_masked_content_is_zero_and_not_read() -> None:
    view = Watched()
    batch = make(view, [0, 3], [[True, False], [False, True]])
    assert view.read == [("video", 0), ("audio", 3)]
    assert batch.lengths["video"].tolist() == [2, 0]
    assert (batch.features["video"][1] == 0).all()
    assert (batch.features["audio"][0] == 0).all()
    assert batch.features["audio"].shape[1] == 2  # as long as what is shown, not what is hidden


def test_files_are_read_front_to_back_one_modality_after_the_other() -> None:
    view = Watched()
    make(view, [3, 0, 2, 1])
    assert view.read == [(m, i) for m in DIMS for i in range(4) if LENGTHS[m][i]]


def test_nothing_present_still_has_one_row_of_zeros() -> None:
    batch = make(Watched(), [1, 2], [[False, False], [False, False]])
    assert {m: tuple(f.shape) for m, f in batch.features.items()} == {
        "video": (2, 1, 3),
        "audio": (2, 1, 2),
    }
    assert not batch.present.any()


def test_an_empty_batch_has_shapes() -> None:
    batch = make(Watched(word=["x", "y", "x", "z"]), [])
    assert len(batch) == 0
    assert batch.features["video"].shape == (0, 1, 3)
    assert batch.present.shape == (0, 2)
    assert batch.labels["word"].shape == (0,)


def test_labels_follow_their_samples() -> None:
    view = Watched(n=[5, 6, 7, 8], x=[0.5, 1.5, float("nan"), 3.5], word=["no", "ab", "no", "yes"])
    batch = make(view, [3, 0])
    assert batch.labels["n"].tolist() == [8, 5]
    assert batch.labels["n"].dtype == torch.int64
    assert batch.labels["x"].tolist() == [3.5, 0.5]
    assert batch.labels["x"].dtype == torch.float32
    assert batch.labels["word"].tolist() == [2, 1]
    assert batch.labels["word"].dtype == torch.int64


def test_batch_does_not_share_memory_with_the_view() -> None:
    view = Watched(n=[1, 2, 3, 4])
    batch = make(view, [0, 3])
    batch.features["video"].fill_(-1)
    batch.labels["n"].fill_(-1)
    again = make(view, [0, 3])
    assert (again.features["video"][0] > 0).all()
    assert again.labels["n"].tolist() == [1, 4]


def test_rows_of_another_shape_are_refused_and_not_broadcast() -> None:
    class Wrong(Watched):
        def rows(self, i: int, modality: str) -> npt.NDArray[Any]:
            return super().rows(i, modality)[:1]

    with pytest.raises(SchemaMismatch, match=r"sample a, video: rows of shape \(1, 3\)"):
        make(Wrong(), [0])


def test_packed_rows_are_the_present_rows_in_order() -> None:
    view = Watched()
    rows, bounds = make(view, [2, 1, 0]).packed("video")
    assert bounds.tolist() == [0, 3, 3, 5]
    assert bounds.dtype == torch.int32
    wanted = np.concatenate([MemoryView.rows(view, 2, "video"), MemoryView.rows(view, 0, "video")])
    assert torch.equal(rows, torch.from_numpy(wanted))


def test_to_moves_every_tensor() -> None:
    batch = make(Watched(n=[1, 2, 3, 4]), [0, 1]).to("meta")
    tensors = [*batch.features.values(), *batch.lengths.values(), *batch.labels.values()]
    assert {t.device.type for t in [*tensors, batch.present]} == {"meta"}
    assert batch.ids == ["a", "b"]


def test_packed_batches_hold_the_rows_of_padded_ones_without_the_padding() -> None:
    view = Watched()
    padded, packed = make(view, [2, 1, 0]), make(view, [2, 1, 0], layout="packed")
    assert packed.layout == "packed"
    for modality in DIMS:
        for mine, others in zip(packed.packed(modality), padded.packed(modality), strict=True):
            assert mine.dtype == others.dtype
            assert torch.equal(mine, others)
        assert torch.equal(packed.lengths[modality], padded.lengths[modality])
    assert packed.features["video"].shape == (5, 3)


def test_pooled_batches_hold_the_mean_row() -> None:
    view = Watched("float16")
    batch = make(view, [0, 1, 2], layout="pooled")
    assert batch.features["audio"].shape == (3, 1, 2)
    assert batch.lengths["audio"].tolist() == [1, 1, 0]
    assert not batch.features["audio"][2].any()
    wanted = MemoryView.rows(view, 1, "audio").astype(np.float32).mean(axis=0)
    assert np.allclose(batch.features["audio"][1, 0], wanted, rtol=1e-6)


@pytest.mark.parametrize("layout", ["padded", "packed", "pooled"])
def test_stored_halves_stay_halves_where_asked(layout: str) -> None:
    view = Watched("float16")
    halves = make(view, [0, 3], layout=layout, keeps_dtype=True)
    floats = make(view, [0, 3], layout=layout)
    for modality in DIMS:
        assert halves.features[modality].dtype == torch.float16
        assert floats.features[modality].dtype == torch.float32
        assert torch.equal(halves.features[modality], floats.features[modality].half())


@pytest.mark.parametrize("layout", ["padded", "packed", "pooled"])
@pytest.mark.parametrize("keeps_dtype", [False, True])
def test_crop_and_stride_choose_rows_before_anything_else(layout: str, keeps_dtype: bool) -> None:
    random = np.random.default_rng(0)
    rows = [random.normal(size=(T, 3)).astype(np.float16) for T in (9, 1, 4, 0)]
    view = MemoryView(list("abcd"), {"video": rows})
    cut = MemoryView(list("abcd"), {"video": [rows[0][2:8:2], rows[1], rows[2][::2], rows[3]]})
    settings: dict[str, Any] = {"layout": layout, "keeps_dtype": keeps_dtype}
    mine = make(view, [2, 0, 1, 3], **settings, crop=3, stride=2)
    wanted = make(cut, [2, 0, 1, 3], **settings)
    assert torch.equal(mine.features["video"], wanted.features["video"])
    assert torch.equal(mine.lengths["video"], wanted.lengths["video"])


def test_padding_samples_have_nothing_and_weigh_nothing() -> None:
    view = Watched(n=[5, 6, 7, 8])
    batch = make(view, [3, -1, -1], [[True, True]] * 3)
    assert batch.ids == ["d", "", ""]
    assert batch.is_padding.tolist() == [False, True, True]
    assert batch.weights.tolist() == [1, 0, 0]
    assert batch.present.tolist() == [[True, True], [False, False], [False, False]]
    assert batch.labels["n"].tolist() == [8, 5, 5]
    assert view.read == [("video", 3), ("audio", 3)]


def test_buffers_of_earlier_batches_leave_nothing_in_later_ones() -> None:
    view = Watched()
    alone = [make(view, positions) for positions in ([0, 2], [1, 3], [3])]
    shared = collator(view)
    for positions, wanted in zip(([0, 2], [1, 3], [3]), alone, strict=True):
        batch = read(shared, view, positions)
        for modality in DIMS:
            assert torch.equal(batch.features[modality], wanted.features[modality])
        for features in batch.features.values():
            features.fill_(torch.nan)
        del batch, features


@pytest.mark.gpu
def test_pinned_batches_copy_asynchronously() -> None:
    view = Watched(n=[1, 2, 3, 4])
    chosen = np.arange(4)
    batch = make(view, chosen.tolist(), pin_memory=True)
    tensors = [*batch.features.values(), *batch.lengths.values(), *batch.labels.values()]
    assert all(t.is_pinned() for t in [*tensors, batch.present])
    moved = batch.to("cuda", non_blocking=True)
    torch.cuda.synchronize()
    assert torch.equal(moved.features["video"].cpu(), batch.features["video"])


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        ({"video": [np.zeros((1, 3))]}, {}),
        ({"video": [np.zeros((1, 3)), np.zeros((1, 4))]}, {}),
        ({"video": [np.zeros((1, 3)), np.zeros(3)]}, {}),
        ({"video": [np.zeros((1, 3))] * 2}, {"n": [1]}),
        ({"video": [np.zeros((1, 3))] * 2}, {"n": [1, None]}),
    ],
)
def test_memory_view_refuses_what_does_not_agree(features: Any, labels: Any) -> None:
    with pytest.raises(SchemaMismatch):
        MemoryView(["a", "b"], features, labels=labels)

"""The miniatures: every method has a task or a reason, and the tasks are what they say."""

import json

import pytest
import torch
from benchmarks import fusion_miniature
from benchmarks.fusion_reasons import (
    CHANGES,
    beside,
    joined,
    joined_twice,
    numbered,
    without_swiglus,
)
from benchmarks.fusion_tasks import (
    FAMILIES,
    WITHOUT,
    crossing,
    dialogue,
    mismatch,
    missing,
    product,
    retrieval,
)
from benchmarks.fusion_training import Trained, shuffled
from torch import Tensor, nn

from scfae.fusion import FusionOutput, build_fusion, list_fusions


def test_every_method_has_a_task_or_a_reason() -> None:
    made_for = {name for _, methods in FAMILIES.values() for name in methods}
    assert made_for | set(WITHOUT) == {info.name for info in list_fusions()}
    assert set(fusion_miniature.SMALL) <= made_for
    assert {family: set(methods) for family, (_, methods) in FAMILIES.items()} == {
        family: set(changes) for family, changes in CHANGES.items()
    }


def test_chance_is_no_pass() -> None:
    assert fusion_miniature.passes([0.8], [0.7])
    assert not fusion_miniature.passes([0.74], [0.7])  # 512 samples tell 4 points from none: no
    assert fusion_miniature.passes([0.74] * 3, [0.7] * 3)
    assert not fusion_miniature.passes([0.6], [0.7])


def test_a_change_shows_a_reason_if_the_figure_moves_as_the_reason_has_it() -> None:
    concat, good, bad = [0.5] * 3, [0.9] * 3, [0.5] * 3
    assert fusion_miniature.explains(good, concat, [0.6] * 3)  # taken away, and it falls
    assert not fusion_miniature.explains(good, concat, [0.9] * 3)
    assert fusion_miniature.explains(bad, concat, [0.6] * 3)  # given, and it rises
    assert not fusion_miniature.explains(bad, concat, [0.4] * 3)


def test_the_table_is_that_of_its_figures() -> None:
    document = json.loads((fusion_miniature.RESULTS / "fusion_miniature.json").read_text())
    text = fusion_miniature.markdown(document["found"], document["changed"])
    assert (fusion_miniature.RESULTS / "fusion_miniature.md").read_text() == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("missing", "mctn"),
        ("missing", "mmin"),
        ("mismatch", "vfd"),
        ("mismatch", "emo_foren"),
        ("retrieval", "cmmp"),
        ("retrieval", "aadml"),
        ("retrieval", "apivr"),
        ("retrieval", "mamba_ltc_align"),
        ("retrieval", "xmodal_distill"),
    ],
)
def test_a_method_passes_on_its_own_task_for_its_reason(family: str, name: str) -> None:
    make, _ = FAMILIES[family]
    seeds = (1, 2, 3)
    concats = [fusion_miniature.measure("concat", family, make(s), s) for s in seeds]
    mine = [fusion_miniature.measure(name, family, make(s), s) for s in seeds]
    change = CHANGES[family][name]
    changed = [fusion_miniature.measure(name, family, make(s), s, change=change) for s in seeds]
    for each, concat, without in zip(mine, concats, changed, strict=True):  # in every seed
        assert fusion_miniature.passes([each], [concat])
        assert fusion_miniature.passes([each], [without])


def test_the_views_become_one_with_zeros_for_what_is_absent() -> None:
    data = missing(0)
    one = joined(data)
    both = one.features["ab"]
    assert one.present(0.0, 0).shape == (len(data.labels), 1)
    assert torch.equal(both[:, :, :16], data.features["a"])
    gone = ~data.present(0.0, 0)[:, 1]
    assert (both[gone, :, 16:] == 0).all()
    assert torch.equal(both[~gone, :, 16:], data.features["b"][~gone])

    twice = joined_twice(data)
    assert list(twice.features) == list(twice.lengths) == ["a", "b"]
    assert all(torch.equal(x, both) for x in twice.features.values())
    assert twice.present(0.0, 0).all()


def test_moments_get_their_number_or_the_other_stream_beside_them() -> None:
    data = crossing(0)
    for m, x in numbered(data).features.items():
        assert torch.equal(x[:, :, :16], data.features[m])
        assert torch.equal(x[0, :, 16:], 2 * torch.eye(6))
    for x in beside(data).features.values():
        assert torch.equal(x, torch.cat([data.features["a"], data.features["b"]], dim=2))


def test_the_sign_of_products_is_in_no_two_views_alone() -> None:
    data = product(0)
    halves = [x - x.mean(dim=0) for x in data.features.values()]
    factors = [torch.linalg.svd(x[:, 0], full_matrices=False).U[:, :2] for x in halves]
    assert list(data.features) == ["a", "b", "c"]
    for first, second in ((0, 1), (0, 2), (1, 2)):  # no bilinear form of two views tells the class
        pairs = torch.einsum("ni,nj->nij", factors[first], factors[second]).flatten(1)
        signs = 2.0 * data.labels.float() - 1
        solved = torch.linalg.lstsq(pairs[:512], signs[:512, None]).solution
        right = ((pairs[512:] @ solved)[:, 0] > 0) == (data.labels[512:] == 1)
        assert right.double().mean() < 0.6


@pytest.mark.parametrize("name", ["scfae", "scfae_stacked"])
def test_an_scfae_without_swiglus_has_none_and_still_runs(name: str) -> None:
    model = build_fusion(name, {"a": 16, "b": 16}, 4, batched="never")
    without_swiglus(model)
    assert not any("swiglu" in type(part).__name__.lower() for part in model.modules())
    x = {m: torch.randn(5, 16) for m in ("a", "b")}
    with torch.no_grad():
        assert model(x).logits.shape == (5, 4)


def test_views_are_scored_by_their_distance_as_they_enter() -> None:
    data = mismatch(0)
    fusion = build_fusion("avoid_df", data.dims, 2, width=16, num_layers=1, num_heads=2)
    rows = torch.arange(6)
    first, second = (fusion.get_submodule(f"project.{m}")(data.features[m][rows]) for m in "ab")
    distance = (first - second).norm(dim=2)[:, 0]
    data.labels[rows] = (distance > distance.median()).long()
    trained = Trained(nn.ModuleDict({"model": fusion}), data, data.present(0.0, 0), {})
    trained.model.forward = fusion.eval().forward
    assert fusion_miniature.area_by_entry(trained, rows) == 1.0


def test_dialogues_stay_whole_and_in_order() -> None:
    data = dialogue(0)
    rows = torch.from_numpy(data.split(0)["train"])
    order = shuffled(data, rows, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == rows.tolist()
    assert not torch.equal(order, rows)
    assert (order.view(-1, 8).diff(dim=1) == 1).all()


def test_the_easy_view_is_there_in_training_and_never_in_the_test() -> None:
    data = missing(0)
    parts = data.split(0)
    assert data.present(0.0, 0)[parts["train"]].all()
    assert not data.present(0.0, 0)[parts["test"], 1].any()


def test_the_marked_sign_is_the_class_and_the_mean_is_not() -> None:
    data = crossing(0)
    signs = torch.linalg.svd(data.features["b"].flatten(0, 1), full_matrices=False).U[:, 0].sign()
    marks = torch.linalg.svd(data.features["a"].flatten(0, 1), full_matrices=False).U[:, 0].abs()
    at = marks.view(len(data.labels), -1).argmax(dim=1)
    signs = signs.view(len(data.labels), -1)
    agree = (signs[torch.arange(len(at)), at] > 0) == (data.labels == 1)
    assert max(agree.double().mean(), 1 - agree.double().mean()) > 0.99
    by_mean = (signs.sum(dim=1) > 0) == (data.labels == 1)
    assert max(by_mean.double().mean(), 1 - by_mean.double().mean()) < 0.75


def test_forged_samples_are_scored_by_distance_where_authors_do() -> None:
    class Apart(nn.Module):
        def forward(self, features: dict[str, Tensor], *_: object, **__: object) -> FusionOutput:
            second = torch.tensor([[0.0], [3.0], [2.0], [1.0]])
            z = {"a": torch.zeros(4, 1), "b": second}
            return FusionOutput(fused=second, z=z, logits=torch.cat([second, 0 * second], dim=1))

    data = mismatch(0)
    rows = torch.arange(4)
    data.labels[rows] = torch.tensor([0, 1, 0, 1])
    trained = Trained(Apart(), data, data.present(0.0, 0), {})
    assert fusion_miniature.area_of_forged(trained, "mds", rows) == 0.75
    assert fusion_miniature.area_of_forged(trained, "concat", rows) == 0.25


def test_precision_counts_neighbours_of_the_other_view_and_not_the_partner() -> None:
    class Tells(nn.Module):
        def __init__(self, answer: Tensor) -> None:
            super().__init__()
            self.answer = answer

        def forward(self, features: dict[str, Tensor], *_: object, **__: object) -> FusionOutput:
            return FusionOutput(fused=self.answer, z=dict.fromkeys(features, self.answer))

    data = retrieval(0)
    rows = torch.arange(4)
    data.labels[rows] = torch.tensor([0, 0, 1, 2])
    answer = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    trained = Trained(Tells(answer), data, data.present(0.0, 0), {})
    assert fusion_miniature.precision_of_nearest(trained, rows) == 0.5  # 2 and 3 find each other

"""The batched path is the plain one, on the same parameters; blocks stack; groups group."""

import copy
import math

import pytest
import torch
from torch import Tensor

from scfae.fusion import SCFAE, build_fusion, count_parameters
from scfae.fusion.mapping import GroupedLinear
from scfae.fusion.scfae_block import DeeperBlock
from scfae.fusion.stacked import LinearStack

EQUAL = {"a": 6, "v": 6, "t": 6}
UNEQUAL = {"a": 6, "v": 8, "t": 5}


def build(dims: dict[str, int], **options: object) -> SCFAE:
    torch.manual_seed(0)
    return SCFAE(dims, **options)  # type: ignore[arg-type]


def batch(dims: dict[str, int], size: int = 4) -> tuple[dict[str, Tensor], Tensor]:
    torch.manual_seed(1)
    present = torch.rand(size, len(dims)) < 0.7
    return {m: 4 * torch.randn(size, d) for m, d in dims.items()}, present


OPTIONS: list[dict[str, object]] = [
    {},
    {"shared_ratio": 0.25, "expansion": 3, "order": ["t", "v", "a"]},
    {"post_scope": "head", "recon_metric": "mse"},
    {"branches": "shared", "zero_absent_parts": False},
    {"reconstruct": False, "num_layers": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_batched_path_equals_the_plain_one(options: dict[str, object]) -> None:
    plain = build(EQUAL, batched="never", **options).double()
    quick = build(EQUAL, batched="always", **options).double()
    features, present = batch(EQUAL)
    features = {m: x.double() for m, x in features.items()}
    grads = []
    for model in (plain, quick):
        out = model(features, present)
        loss = out.fused.square().sum() + sum(out.losses.values())
        grads.append(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
    first, second = plain(features, present), quick(features, present)
    with torch.no_grad():
        torch.testing.assert_close(quick(features, present).fused, first.fused)
    for part in ("z", "specific", "shared", "shared_from", "recon", "losses"):
        torch.testing.assert_close(getattr(second, part), getattr(first, part))
    torch.testing.assert_close(grads[0], grads[1])


def test_a_gradient_of_the_gradient_is_the_plain_ones() -> None:
    features, present = batch(EQUAL)
    seconds = []
    for batched in ("never", "always"):
        model = build(EQUAL, batched=batched).double()
        x = {m: t.double().requires_grad_() for m, t in features.items()}
        (first,) = torch.autograd.grad(
            model(x, present).fused.square().sum(), x["a"], create_graph=True
        )
        weight = dict(model.named_parameters())["expand.a.weight"]
        seconds.append(torch.autograd.grad(first.square().sum(), weight)[0])
    torch.testing.assert_close(seconds[0], seconds[1])


def test_small_batches_without_gradients_are_batched_and_nothing_else() -> None:
    model = build(EQUAL)
    with torch.no_grad():
        assert model._is_batched(batch(EQUAL, 16)[0])
        assert not model._is_batched(batch(EQUAL, 512)[0])
        assert not build(UNEQUAL, batched="always")._is_batched(batch(UNEQUAL)[0])
        for groups in ({"map_groups": 2}, {"post_groups": 2}):
            assert not build(EQUAL, batched="always", **groups)._is_batched(batch(EQUAL)[0])
        ratios = {"a": 0.5, "v": 0.5, "t": 0.25}
        assert not build(EQUAL, shared_ratio=ratios)._is_batched(batch(EQUAL)[0])
    assert not model._is_batched(batch(EQUAL, 1)[0])


@pytest.mark.parametrize(
    ("width", "rows", "is_batched"),
    [
        (32, 64, True),
        (32, 65, False),
        (128, 32, True),
        (128, 33, False),
        (512, 2, True),
        (512, 3, False),
        (1024, 1, False),
    ],
)
def test_the_batched_path_is_taken_only_where_it_was_measured_to_be_no_slower(
    width: int, rows: int, is_batched: bool
) -> None:
    dims = {"a": width, "v": width}
    with torch.no_grad(), torch.device("meta"):
        model = SCFAE(dims)
    assert model._is_batched({m: torch.zeros(rows, width) for m in dims}) is False  # with gradients
    with torch.no_grad():
        assert model._is_batched({m: torch.zeros(rows, width) for m in dims}) is is_batched


def test_a_stack_lies_on_the_layers_own_memory() -> None:
    layers = [torch.nn.Linear(3, 2) for _ in range(4)]
    stack = LinearStack(layers, per=2)
    x = torch.randn(2, 5, 3)

    def expected() -> Tensor:
        pairs = [torch.cat([layers[2 * g](x[g]), layers[2 * g + 1](x[g])], dim=1) for g in (0, 1)]
        return torch.stack(pairs)

    torch.testing.assert_close(stack(x), expected())
    size = layers[0].weight.numel() * 4
    assert layers[1].weight.data_ptr() == layers[0].weight.data_ptr() + size
    with torch.no_grad():
        layers[2].weight.add_(1)  # as an optimizer does
    torch.testing.assert_close(stack(x), expected())
    layers[3].weight = torch.nn.Parameter(torch.ones(2, 3))  # replaced: laid out again
    torch.testing.assert_close(stack(x), expected())


def test_training_copying_and_loading_keep_both_paths_together() -> None:
    quick, (features, present) = build(EQUAL, batched="always"), batch(EQUAL)
    optimizer = torch.optim.AdamW(quick.parameters(), lr=0.01)
    for _ in range(3):
        out = quick(features, present)
        optimizer.zero_grad()
        (out.fused.sum() + out.losses["recon"]).backward()
        optimizer.step()
    for other in (copy.deepcopy(quick), build(EQUAL, batched="never")):
        other.load_state_dict(quick.state_dict())
        torch.testing.assert_close(other(features, present).fused, quick(features, present).fused)
        torch.nn.init.zeros_(dict(other.named_parameters())["expand.a.weight"])
        assert not torch.allclose(other(features, present).fused, quick(features, present).fused)


def test_a_stack_of_blocks_reads_maps_of_the_one_before() -> None:
    one, two = build(UNEQUAL), build(UNEQUAL, num_layers=2)
    entry = sum((d + 5) * d + d + d for d in UNEQUAL.values())
    assert count_parameters(two) == 2 * count_parameters(one) + entry
    features, present = batch(UNEQUAL)
    two.load_state_dict(one.state_dict(), strict=False)
    first, out = one(features, present), two(features, present)
    torch.testing.assert_close(out.shared_from, first.shared_from)
    deeper = two.deeper[0](first.z, present, "both")
    torch.testing.assert_close(out.z, deeper["z"])
    errors = [two._error(features, recon, present) for recon in (first.recon, deeper["recon"])]
    torch.testing.assert_close(out.losses["recon"], (errors[0] + errors[1]) / 2)


def test_a_new_block_of_a_stack_says_as_much_as_the_one_before() -> None:
    torch.manual_seed(0)
    dims = {"a": 64, "v": 64}
    model = SCFAE(dims, num_layers=3)
    features = {m: SCFAE.input_rms * torch.randn(128, d) for m, d in dims.items()}
    everything = torch.ones(128, 2, dtype=torch.bool)
    z = model.run_maps(features, everything, "both")["z"]
    first = z["a"].std(dim=0).mean()
    for block in model.deeper:
        assert isinstance(block, DeeperBlock)
        z = block(z, everything, "both")["z"]
        assert first / 4 < z["a"].std(dim=0).mean() < 4 * first


@pytest.mark.parametrize("width", [512, 35])
def test_grouped_maps_have_the_parameters_of_their_formula(width: int) -> None:
    dims = {"audio": width, "video": width}
    with torch.device("meta"):
        full, light = SCFAE(dims), SCFAE(dims, map_groups=2)

    def grouped(width_in: int, width_out: int) -> int:
        return math.ceil(width_in / 2) * math.ceil(width_out / 2) * 2 + width_out

    def swiglu(d: int) -> int:
        hidden = int(8 * d / 3)
        return 2 * grouped(d, hidden) + grouped(hidden, d)

    # exchange and reconstruction, as they are
    kept = (width * width + width) * 2 + (2 * width * width + width)
    each = swiglu(width) + swiglu(2 * width) + grouped(width, 2 * width) + kept
    assert count_parameters(light) == 2 * each
    assert count_parameters(light) < 0.6 * count_parameters(full)


@pytest.mark.parametrize("width", [512, 35])
def test_the_light_one_has_its_output_swiglu_in_groups(width: int) -> None:
    with torch.device("meta"):
        full, light = (build_fusion(x, {"a": width, "v": width}) for x in ("scfae", "scfae_light"))

    def grouped(width_in: int, width_out: int) -> int:
        return math.ceil(width_in / 4) * math.ceil(width_out / 4) * 4 + width_out

    d, hidden = 2 * width, int(16 * width / 3)
    plain = 3 * d * hidden + 2 * hidden + d
    saved = plain - 2 * grouped(d, hidden) - grouped(hidden, d)
    assert count_parameters(full) - count_parameters(light) == 2 * saved
    assert count_parameters(light) < 0.5 * count_parameters(full)
    assert build_fusion("scfae_light", {"a": 3, "v": 9})  # as many groups as there can be


def test_a_grouped_map_is_blocks_whose_outputs_are_interleaved() -> None:
    torch.manual_seed(0)
    grouped, x = GroupedLinear(6, 4, 2), torch.randn(3, 6)
    first, second = x[:, :3] @ grouped.weight[0], x[:, 3:] @ grouped.weight[1]
    expected = torch.stack([first[:, 0], second[:, 0], first[:, 1], second[:, 1]], dim=1)
    torch.testing.assert_close(grouped(x), expected + grouped.bias)
    assert GroupedLinear(7, 5, 3)(torch.randn(2, 7)).shape == (2, 5)
    wide, full = GroupedLinear(256, 256, 4), torch.nn.Linear(64, 256)
    loud = wide(torch.randn(500, 256)).std() / full(torch.randn(500, 64)).std()
    assert loud.item() == pytest.approx(1.0, abs=0.1)
    with pytest.raises(ValueError, match="map_groups: must be from 1 to the least width, 4"):
        SCFAE({"a": 4, "v": 6}, map_groups=5)
    with pytest.raises(ValueError, match="post_groups: must be from 1 to the least width, 4"):
        SCFAE({"a": 4, "v": 6}, post_groups=5)
    with pytest.raises(ValueError, match="num_layers: must be at least 1"):
        SCFAE({"a": 4}, num_layers=0)

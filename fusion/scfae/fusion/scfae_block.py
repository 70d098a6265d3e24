"""One SCFAE block: Eq. 3 to 5 for vectors of all modalities, branch by branch or batched.

Where all widths and boundaries are equal, the M branches' matrix products are one batched product
each (`LinearStack`), with the same parameters: equal to the plain path within rounding. That
saves calls, not arithmetic, so it serves inference on small batches.

Shapes: N samples (or samples times steps), l_m width of modality m, l* the least of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mapping import SwiGLU, make_linear
from .stacked import LinearStack

Parts = dict[str, dict[str, Tensor]]

_MOST_BATCHED_ROWS = {"cpu": 64, "cuda": 64}
_MOST_BATCHED_WORK = {"cpu": 2**19, "cuda": 2**40}
"""Samples, and samples times width squared, up to which `auto` takes the batched path, where
gradients are off. With them Python's part in the backward pass costs what the fewer products save.

Measured on one CPU core, the loop's time over the batched path's, two modalities: 32 wide 1.2 to
1.7 up to 64 samples; 128 wide 1.05 to 1.26 up to 32, 1.00 at 64; 512 wide 0.99 and 1.01 at 1 and 2,
0.88 at 4: a batched product of large matrices is slower than as many plain ones."""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """Widths and switches of a block.

    Attributes:
        dims: l_m of each modality.
        next: The modality k whose shared part goes into slot m.
        wide: Expanded width of each.
        boundary: Features of it that are shared.
        reconstruct: Whether there is a reconstruction mapping.
        is_gelu: Whether GELU follows it.
        post_scope: `both`: head and reconstruction read the output SwiGLU; `head`: only the head.
        zero_absent: Zero the parts that come from what is absent.
        map_groups: Groups of the maps in expansion and input SwiGLU; 1 is the paper's.
        post_groups: Groups of the maps in the output SwiGLU.
        batched: `auto`, `always` or `never`.
    """

    dims: Mapping[str, int]
    next: Mapping[str, str]
    wide: Mapping[str, int]
    boundary: Mapping[str, int]
    reconstruct: bool
    is_gelu: bool
    post_scope: str
    zero_absent: bool
    map_groups: int
    post_groups: int
    batched: str

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self.dims)

    @property
    def shared_width(self) -> int:
        """l*: the least width of what is configured, not of what is here."""
        return min(self.dims.values())

    @property
    def can_batch(self) -> bool:
        """Whether all branches are of one shape and their maps are plain."""
        shapes = {(self.dims[m], self.wide[m], self.boundary[m]) for m in self.dims}
        return len(shapes) == 1 and self.map_groups == self.post_groups == 1


class BlockMaps(nn.Module):
    """The maps of one block and how they are run; a base class without a constructor.

    Attributes:
        plan: Widths and switches.
        pre: Input SwiGLU of each modality.
        expand: E_m.
        to_shared: S_m of each slot; it reads the next modality.
        to_specific: P_m.
        post: Output SwiGLU.
        rebuild: R_m.
    """

    plan: BlockPlan
    pre: nn.ModuleDict
    expand: nn.ModuleDict
    to_shared: nn.ModuleDict
    to_specific: nn.ModuleDict
    post: nn.ModuleDict
    rebuild: nn.ModuleDict
    _made_stacks: dict[str, LinearStack]

    def build_maps(self, plan: BlockPlan) -> None:
        """Make the maps of a plan."""
        self.plan = plan
        dims, least, groups = plan.dims, plan.shared_width, plan.map_groups
        self.pre = nn.ModuleDict({m: SwiGLU(d, groups) for m, d in dims.items()})
        self.expand = nn.ModuleDict(
            {m: make_linear(d, plan.wide[m], groups) for m, d in dims.items()}
        )
        self.to_shared = nn.ModuleDict(
            {m: nn.Linear(plan.boundary[plan.next[m]], least) for m in dims}
        )
        self.to_specific = nn.ModuleDict(
            {m: nn.Linear(plan.wide[m] - plan.boundary[m], d) for m, d in dims.items()}
        )
        self.post = nn.ModuleDict({m: SwiGLU(d + least, plan.post_groups) for m, d in dims.items()})
        if plan.reconstruct:
            self.rebuild = nn.ModuleDict({m: nn.Linear(d + least, d) for m, d in dims.items()})

    def run_maps(self, vectors: Mapping[str, Tensor], present: Tensor, branches: str) -> Parts:
        """Run the block.

        Args:
            vectors: `[N, l_m]` of each modality, zero where absent.
            present: bool `[N, M]`.
            branches: `both`, or the one that is kept, the other zeroed.

        Returns:
            `specific`, `shared`, `shared_from`, `z` and `recon`, each by modality.
        """
        if self._is_batched(vectors):
            return self._run_batched(vectors, present, branches)
        plan = self.plan
        hat_shared: dict[str, Tensor] = {}
        hat_specific: dict[str, Tensor] = {}
        for m in plan.modalities:
            expanded = F.gelu(self.expand[m](self.pre[m](vectors[m])))
            hat_shared[m] = expanded[:, : plan.boundary[m]]
            hat_specific[m] = expanded[:, plan.boundary[m] :]
        parts: Parts = {name: {} for name in ("specific", "shared", "shared_from", "z", "recon")}
        here = {m: present[:, i, None] for i, m in enumerate(plan.modalities)}
        for m in plan.modalities:
            k = plan.next[m]
            shared = F.gelu(self.to_shared[m](hat_shared[k]))
            specific = F.gelu(self.to_specific[m](hat_specific[m]))
            shared, specific = self._keep(shared, specific, here[k], here[m], branches)
            parts["specific"][m] = specific
            parts["shared"][m] = shared
            parts["shared_from"][k] = shared
            joined = torch.cat([specific, shared], dim=1)
            parts["z"][m] = self.post[m](joined)
            if plan.reconstruct:
                source = parts["z"][m] if plan.post_scope == "both" else joined
                parts["recon"][m] = self._activate(self.rebuild[m](source))
        parts["shared_from"] = {m: parts["shared_from"][m] for m in plan.modalities}
        return parts

    def _run_batched(self, vectors: Mapping[str, Tensor], present: Tensor, branches: str) -> Parts:
        plan, names = self.plan, self.plan.modalities
        boundary = plan.boundary[names[0]]
        slots = [names.index(plan.next[m]) for m in names]  # where each slot's shared part is from
        here = present.T[:, :, None]
        stacks = self._stacks()
        x = torch.stack([vectors[m] for m in names])
        expanded = F.gelu(stacks["expand"](_swiglu(x, stacks, "pre")))
        shared_from = F.gelu(stacks["to_shared"](expanded[:, :, :boundary]))
        specific = F.gelu(stacks["to_specific"](expanded[:, :, boundary:]))
        shared_from, specific = self._keep(shared_from, specific, here, here, branches)
        # In the order of `dims`, as by default, the next of each is one further on.
        is_cycle = slots == [(i + 1) % len(slots) for i in range(len(slots))]
        shared = shared_from.roll(-1, 0) if is_cycle else shared_from[slots]
        joined = torch.cat([specific, shared], dim=2)
        z = _swiglu(joined, stacks, "post")
        parts = {"specific": specific, "shared": shared, "shared_from": shared_from, "z": z}
        if plan.reconstruct:
            source = z if plan.post_scope == "both" else joined
            parts["recon"] = self._activate(stacks["rebuild"](source))
        by_name: Parts = {"recon": {}}
        for part, stack in parts.items():
            by_name[part] = dict(zip(names, stack.unbind(), strict=True))
        return by_name

    def _stacks(self) -> dict[str, LinearStack]:
        if self.__dict__.get("_made_stacks") is None:
            self._made_stacks = self._make_stacks()
        return self._made_stacks

    def _make_stacks(self) -> dict[str, LinearStack]:
        names, plan = self.plan.modalities, self.plan
        readers = sorted(names, key=lambda m: names.index(plan.next[m]))  # in the order of sources
        maps = {"expand": self.expand, "to_specific": self.to_specific}
        if plan.reconstruct:
            maps["rebuild"] = self.rebuild
        stacks = {name: LinearStack([layers[m] for m in names]) for name, layers in maps.items()}
        stacks["to_shared"] = LinearStack([self.to_shared[m] for m in readers])
        for name, layers in (("pre", self.pre), ("post", self.post)):
            swiglus = [layer for m in names if isinstance(layer := layers[m], SwiGLU)]
            both = [linear for swiglu in swiglus for linear in (swiglu.gate, swiglu.value)]
            stacks[f"{name}.in"] = LinearStack(both, per=2)
            stacks[f"{name}.out"] = LinearStack([swiglu.out for swiglu in swiglus])
        return stacks

    def _is_batched(self, vectors: Mapping[str, Tensor]) -> bool:
        plan = self.plan
        if plan.batched == "never" or not plan.can_batch or len(vectors) == 1:
            return False
        x = next(iter(vectors.values()))
        # Tracing wants plain operations; autocast and meta tensors have no memory to lay out.
        if torch.compiler.is_compiling() or x.device.type == "meta":
            return False
        if torch.is_autocast_enabled(x.device.type):
            return False
        if plan.batched == "always":
            return True
        rows, width = x.shape
        is_small = rows <= _MOST_BATCHED_ROWS.get(x.device.type, 0)
        is_cheap = rows * width**2 <= _MOST_BATCHED_WORK.get(x.device.type, 0)
        return is_small and is_cheap and not torch.is_grad_enabled()

    def _keep(
        self, shared: Tensor, specific: Tensor, from_here: Tensor, is_here: Tensor, branches: str
    ) -> tuple[Tensor, Tensor]:
        """Zero what comes from absent modalities, and the branch that is not kept."""
        if self.plan.zero_absent:
            shared = shared.masked_fill(~from_here, 0.0)
            specific = specific.masked_fill(~is_here, 0.0)
        if branches == "specific":
            shared = torch.zeros_like(shared)
        elif branches == "shared":
            specific = torch.zeros_like(specific)
        return shared, specific

    def _activate(self, x: Tensor) -> Tensor:
        return F.gelu(x) if self.plan.is_gelu else x


class DeeperBlock(BlockMaps):
    """A further block of a stack (ours): it reads a normed linear map of the one before.

    The norm's scale begins at the root mean square at which a block learns. Without it what leaves
    a block, of deviation 0.2, enters the next, whose SwiGLUs raise small values to the fourth
    power: nothing would come out, and no gradient would come back.

    Args:
        plan: Widths and switches.
        input_rms: At which a block learns.
    """

    def __init__(self, plan: BlockPlan, input_rms: float) -> None:
        super().__init__()
        least = plan.shared_width
        self.entry = nn.ModuleDict({m: nn.Linear(d + least, d) for m, d in plan.dims.items()})
        self.norm = nn.ModuleDict({m: nn.RMSNorm(d, eps=1e-6) for m, d in plan.dims.items()})
        for norm in self.norm.values():
            assert isinstance(norm, nn.RMSNorm)
            nn.init.constant_(norm.weight, input_rms)
        self.build_maps(plan)

    def forward(self, z: Mapping[str, Tensor], present: Tensor, branches: str) -> Parts:
        """Return this block's parts from z `[N, l_m + l*]`; an absent modality enters as zero."""
        vectors = {}
        for i, m in enumerate(self.plan.modalities):
            norm = self.norm[m]
            assert isinstance(norm, nn.RMSNorm)
            entered = norm(self.entry[m](z[m]).to(norm.weight.dtype))  # autocast leaves the scale
            vectors[m] = entered.masked_fill(~present[:, i, None], 0.0)
        return self.run_maps(vectors, present, branches)


def _swiglu(x: Tensor, stacks: Mapping[str, LinearStack], name: str) -> Tensor:
    gate, value = stacks[f"{name}.in"](x).chunk(2, dim=2)
    return stacks[f"{name}.out"](F.silu(gate) * value)

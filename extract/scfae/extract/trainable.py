"""An encoder that is to learn: loaded with every layer in place, and its blocks by name.

What is frozen for good may be folded or cut; what learns needs its batch norms, and its parameters
where the published layout has them.
"""

from dataclasses import dataclass

import torch

from scfae.store.errors import ConfigError

from .encoder import Encoder
from .encoders.inputs import OPTIONS, input_form, split_options
from .options import check_options
from .registry import load_trainable_encoder, parse_encoder
from .whole_windows import WindowForm

FULL, FROZEN, LAST = "full", "frozen", "last:"


@dataclass(frozen=True, slots=True)
class TrainableEncoder:
    """An encoder and what it reads from a column of windows.

    Attributes:
        encoder: With its network, in evaluation mode, nothing of it learning.
        form: What its windows look like as rows.
    """

    encoder: Encoder
    form: WindowForm


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a network that learns or rests as a whole.

    Attributes:
        name: Of its first part, as the network has it.
        parts: Names of modules and parameters.
    """

    name: str
    parts: tuple[str, ...]

    def holds(self, name: str) -> bool:
        """Return whether a module or parameter of this name is in the block."""
        return any(name == part or name.startswith(f"{part}.") for part in self.parts)


def load_trainable(
    text: str, *, width: int | None = None, device: str | torch.device = "cpu"
) -> TrainableEncoder:
    """Return an encoder that can be trained.

    Args:
        text: An encoder string `NAME[@WEIGHTS][:option=value,…]`, with those of its column of
            windows, which may be kept smaller.
        width: Of the first stage, for a network of reduced size with random weights; None is the
            published network.
        device: Where to put the network.

    Raises:
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If it cannot be loaded.
        ConfigError: If an option is unknown or out of range, or there is no such reduced network.
    """
    request = parse_encoder(text)
    options, asked = split_options(request.options)
    smaller, _ = check_options(request.name, asked, OPTIONS)
    encoder = load_trainable_encoder(
        request.name, request.weights, options, width=width, device=device
    )
    return TrainableEncoder(encoder, input_form(encoder, **smaller))


def blocks_of(encoder: Encoder) -> tuple[Block, ...]:
    """Return the blocks of an encoder's network, from its input to its output.

    `Encoder.blocks` names them: `layer4`; `blocks.*` is a block for each item; `+norm` belongs to
    the block before. Without it: the items of the longest list of layers there is, with what comes
    after it in the last.
    """
    network = encoder.module
    found: list[list[str]] = []
    for word in encoder.blocks or _guessed(encoder):
        if word.startswith("+"):
            found[-1].append(word[1:])
        elif word.endswith(".*"):
            stem = word.removesuffix(".*")
            items = network.get_submodule(stem).named_children()
            found += [[f"{stem}.{name}"] for name, _ in items]
        else:
            found.append([word])
    return tuple(Block(parts[0], tuple(parts)) for parts in found)


def choose_blocks(encoder: Encoder, train: str) -> tuple[Block, ...]:
    """Return the blocks that learn; for `full` one that holds everything.

    Args:
        encoder: The encoder.
        train: `full`, `frozen` or `last:N`.

    Raises:
        ConfigError: It has fewer blocks; they are named.
    """
    if train == FROZEN:
        return ()
    if train == FULL:
        names = [name for name, _ in encoder.module.named_children()]
        names += [name for name, _ in encoder.module.named_parameters(recurse=False)]
        return (Block("all", tuple(names)),)
    count = int(train.removeprefix(LAST))
    blocks = blocks_of(encoder)
    if count > len(blocks):
        raise ConfigError(
            f"{encoder.spec.name}: {train} is more than its {len(blocks)} blocks: "
            f"{', '.join(block.name for block in blocks)}."
        )
    return blocks[-count:]


def _guessed(encoder: Encoder) -> list[str]:
    lists = [
        (len(module), name)
        for name, module in encoder.module.named_modules()
        if isinstance(module, torch.nn.ModuleList | torch.nn.Sequential) and name
    ]
    children = [name for name, _ in encoder.module.named_children()]
    if not lists:
        return children
    _, longest = max(lists, key=lambda one: one[0])
    top = longest.partition(".")[0]
    after = children[children.index(top) + 1 :]
    return [f"{longest}.*", *(f"+{name}" for name in after)]

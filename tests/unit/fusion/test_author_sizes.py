"""Methods are as large as the layers that their authors' code lists, at their authors' settings.

No paper prints these numbers, so each is counted a second time: from the layers of the released
code, with torch's own modules, not with ours. What is left out or added on purpose (the methods'
docstrings name it) is one term with its reason.
"""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from scfae.fusion import build_fusion

TWO = {"audio": 512, "video": 512}
UTTERANCES = {"audio": 512, "text": 1024, "vision": 1024}
SEQUENCES = {"text": 768, "audio": 74, "vision": 35}
RECORDS = {"ehr": 256, "xray": 256}


def size(*layers: nn.Module) -> int:
    return sum(p.numel() for layer in layers for p in layer.parameters())


def transformer(width: int, layers: int, norms: int = 2) -> int:
    # MulT's, of which four families are made: attention, 4 times as wide and back, norms of both, a
    # norm after the last layer. A key's bias cannot change a softmax and is left.
    attend = size(nn.MultiheadAttention(width, 1)) - width
    feed = size(nn.Linear(width, 4 * width), nn.Linear(4 * width, width))
    each = attend + feed + norms * size(nn.LayerNorm(width))
    return layers * each + size(nn.LayerNorm(width))


def uavm() -> int:
    # 3 blocks a modality and 3 shared, width 1024, MLP of 4 times that; no bias on q, k and v. The
    # shared stack has a norm and positions too; its map to another width has no use and is left.
    block = size(nn.TransformerEncoderLayer(1024, 4, 4096)) - 3 * 1024
    enter = 2 * (size(nn.LayerNorm(512), nn.Linear(512, 1024)) + 30 * 1024)
    again = size(nn.LayerNorm(1024)) + 30 * 1024
    return 9 * block + enter + again + size(nn.LayerNorm(1024), nn.Linear(1024, 3))


def meter() -> int:
    # BERT's cross layer, 6 a stream, width 768; a key's bias cannot change a softmax and is left.
    attend = size(nn.MultiheadAttention(768, 12)) - 768
    feed = size(nn.Linear(768, 3072), nn.Linear(3072, 768))
    layer = 2 * attend + feed + 3 * size(nn.LayerNorm(768))
    stream = 6 * layer + size(nn.Linear(512, 768), nn.Linear(768, 768)) + 2 * 768
    return 2 * stream + size(nn.Linear(2 * 768, 2), nn.Linear(2 * 768, 3))


def avoid_df() -> int:
    # Its decoder, and what reads it; a key's bias cannot change a softmax and is left, and so is a
    # linear layer before the head.
    attend = size(nn.MultiheadAttention(768, 12)) - 768
    feed = size(nn.Linear(768, 3072), nn.Linear(3072, 768))
    norm = size(nn.LayerNorm(768))
    stream = 5 * (2 * attend + feed + 3 * norm) + size(nn.Linear(512, 768)) + 768
    last = attend + feed + 2 * norm
    return 2 * stream + last + size(nn.Linear(2 * 768, 768), nn.Linear(3 * 768, 3)) + 3


def mmin() -> int:
    # Two cascades of 5 autoencoders 256-128-64 on the joint embedding, and their ways in and out.
    chain = (2 * 128, 256, 128, 64)
    down = [nn.Linear(a, b) for a, b in pairwise(chain)]
    up = [nn.Linear(b, a) for a, b in pairwise(chain)]
    cascade = 5 * size(*down, *up) + size(nn.Linear(256, 256), nn.Linear(256, 256))
    encoder = size(nn.Linear(512, 128), nn.Linear(128, 128), nn.Linear(128, 128))
    classify = [
        size(nn.Linear(width, 128), nn.Linear(128, 128), nn.Linear(128, 3))
        for width in (5 * 64, 2 * 128)
    ]
    return 2 * cascade + 4 * encoder + sum(classify)


def gcnet() -> int:
    # A BiLSTM of 200, two graph branches to 100 (3 relations of time, 1 speaker), a BiLSTM on each.
    total, node, out = 1024, 400, 500
    branches = 0
    for relations in (3, 1):
        graph = size(nn.Linear(node, 100)) + relations * node * 100
        graph += size(nn.Linear(100, 100)) + 100 * 100
        lstm = size(nn.LSTM(out, out, num_layers=2, bidirectional=True))
        branches += graph + lstm + size(nn.Linear(2 * out, out))
    first = size(nn.LSTM(total, 200, num_layers=2, bidirectional=True))
    return first + branches + size(nn.Linear(out, total), nn.Linear(out, 3))


def misa() -> int:
    # Its discriminators are in no loss of the released setting and are left.
    enter = sum(size(nn.Linear(d, 128), nn.LayerNorm(128)) for d in SEQUENCES.values())
    private_shared_recon = (3 + 1 + 3) * size(nn.Linear(128, 128))
    layer = size(nn.TransformerEncoderLayer(128, 2)) - 128  # a key's bias
    return enter + private_shared_recon + layer + size(nn.Linear(768, 384), nn.Linear(384, 1))


def expert_layer() -> int:
    # Queries, keys (without bias), values, and an MLP that is no wider: no norm, no projection.
    return 5 * size(nn.Linear(256, 256)) - 256


def momke() -> int:
    enter = sum(size(nn.Linear(d, 256)) for d in UTTERANCES.values())
    router = size(nn.Linear(256, 256), nn.Linear(256, 3))
    heads = 3 * size(nn.Linear(256, 1)) + size(nn.Linear(768, 1))
    return enter + 3 * 4 * expert_layer() + 3 * router + size(nn.Linear(768, 768)) + heads


def mculora() -> int:
    def updates(width_in: int, width_out: int, rank: int) -> int:
        # One that all share and one of each combination; the eighth, of nothing, is left.
        return (1 + 7) * rank * (width_in + width_out)

    enter = sum(size(nn.Linear(d, 256)) + updates(d, 256, 4) for d in UTTERANCES.values())
    layer = expert_layer() + 2 * updates(256, 256, 8)
    attend = 3 * 4 * 256 * 256  # of specific streams to each other, without bias
    leave = size(nn.Linear(768, 768), nn.Linear(768, 1)) + updates(768, 768, 4) + updates(768, 1, 4)
    return enter + 3 * 4 * layer + attend + leave  # heads of one modality are in no loss: left


def drfuse() -> int:
    classes = 25  # phenotypes
    encoder = 2 * size(nn.Linear(256, 256))  # in place of a transformer and a ResNet
    project = size(nn.Linear(256, 512), nn.Linear(512, 256), nn.Linear(256, 256))
    attend = size(nn.Linear(256, (2 + classes) * 256))
    return 4 * encoder + project + attend + 4 * size(nn.Linear(256, classes))


def perceiver() -> int:
    # The port's defaults: latents of 512, cross-attention by 1 head of 64, 8 such to themselves.
    width, code = 512, 2 * 6 + 1

    def attention(inner: int) -> int:
        biases = 2 * inner  # of queries and values: ours
        return 3 * width * inner + biases + size(nn.Linear(inner, width))

    norm = size(nn.LayerNorm(width))
    feed = norm + size(nn.Linear(width, 8 * width), nn.Linear(4 * width, width))
    one = 2 * norm + attention(64) + feed + norm + attention(8 * 64) + feed
    # A projection and a vector of each modality, where the port pads all to one width.
    enter = 2 * (size(nn.Linear(512 + code, width)) + width)
    return enter + 256 * width + 6 * one + norm + size(nn.Linear(width, 3))


def dlf() -> int:
    w = 50
    convolutions = sum(size(nn.Conv1d(d, w, 3, bias=False)) for d in SEQUENCES.values())
    encoders = (3 + 1 + 3) * transformer(w, 2)  # specific, shared, after the shared one
    cross = 2 * transformer(w, 2, norms=3)  # a norm for keys: ours
    after = transformer(w, 2) + 2 * transformer(w, 3)
    rebuild = 3 * size(nn.Conv1d(2 * w, w, 1, bias=False))
    widths = (w, w, w, 3 * w)
    own = sum(2 * size(nn.Linear(d, d)) + size(nn.Linear(d, 1)) for d in widths)
    joint = sum(size(nn.Linear(d, d)) for d in widths) + 2 * size(nn.Linear(6 * w, 6 * w))
    align = size(nn.Linear(w, w))  # on the mean over time; the code has 3 of 48 steps side by side
    leave = size(nn.Linear(6 * w, 1))
    return convolutions + encoders + cross + after + rebuild + own + joint + align + leave


def imagining(layers: int) -> int:
    # What IMDer and DiCMoR share: convolutions, refiners of 20 blocks, MulT's body and its head.
    convolutions = sum(size(nn.Conv1d(d, 32, 3, bias=False)) for d in SEQUENCES.values())
    block = 2 * size(nn.Conv1d(64, 64, 3)) + size(nn.Conv1d(64, 4, 1), nn.Conv1d(4, 64, 1))
    ends = size(nn.Conv1d(64, 64, 3), nn.Conv1d(32, 64, 1), nn.Conv1d(64, 32, 1))
    merge = 3 * size(nn.Conv1d(64, 32, 1))
    body = 6 * transformer(32, layers, norms=3) + 3 * transformer(64, layers)
    leave = 2 * size(nn.Linear(192, 192)) + size(nn.Linear(192, 1))
    return convolutions + 3 * (20 * block + ends) + merge + body + leave


def imder() -> int:
    # A U-Net of 4 levels for each of 3; at every level, and where it leaves, it hears the
    # condition, which has convolutions of its own but at the first level. Norms of keys are ours.
    channels = (32, 64, 128, 256)
    score = size(nn.Linear(256, 256))
    score += size(nn.Conv1d(32, 32, 3, bias=False))
    score += sum(2 * size(nn.Conv1d(a, b, 3, bias=False)) for a, b in pairwise(channels))
    for into, condition, out in ((256, 256, 128), (256, 128, 64), (128, 64, 32)):
        score += size(nn.ConvTranspose1d(into, out, 3, bias=False))
        score += size(nn.ConvTranspose1d(condition, out, 3, bias=False))
    for out in (*channels, *channels[:-1]):
        score += size(nn.Linear(256, out), nn.GroupNorm(4, out)) + transformer(out, 2, norms=3)
    score += size(nn.ConvTranspose1d(2 * 32, 32, 3), nn.ConvTranspose1d(32, 32, 3))
    score += transformer(32, 2, norms=3)
    return imagining(6) + 3 * score


def dicmor() -> int:
    # Norm, mixing and coupling; the code's scale of each last layer is left.
    step = 2 * 32 + 32 * 32 + size(nn.Linear(16, 64), nn.Linear(64, 64), nn.Linear(64, 32))
    priors = 7 * 2 * 32  # its convolutions of zeros say no more than a mean and a deviation
    return imagining(4) + 3 * 32 * step + priors


AUTHORS: dict[str, tuple[Any, dict[str, int], int, dict[str, Any]]] = {
    "uavm": (uavm, TWO, 3, {"width": 1024, "max_steps": 30}),
    "meter": (meter, TWO, 3, {"width": 768, "num_layers": 6, "num_heads": 12}),
    "avoid_df": (avoid_df, TWO, 3, {"width": 768, "num_heads": 12}),
    "mmin": (mmin, TWO, 3, {}),
    "gcnet": (gcnet, TWO, 3, {}),
    "misa": (misa, SEQUENCES, 1, {}),
    "momke": (momke, UTTERANCES, 1, {}),
    "mculora": (mculora, UTTERANCES, 1, {}),
    "drfuse": (drfuse, RECORDS, 25, {}),
    "perceiver": (perceiver, TWO, 3, {"width": 512, "num_latents": 256, "depth": 6}),
    "dlf": (dlf, SEQUENCES, 1, {}),
    "imder": (imder, SEQUENCES, 1, {"num_layers": 6}),
    "dicmor": (dicmor, SEQUENCES, 1, {}),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_a_method_at_its_authors_sizes_is_as_large_as_their_layers(name: str) -> None:
    count, dims, outputs, options = AUTHORS[name]
    torch.manual_seed(0)
    with torch.device("meta" if name in ("uavm", "meter", "avoid_df") else "cpu"):
        model = build_fusion(name, dims, num_outputs=outputs, **options)
    with torch.device("meta"):
        expected = count()
    assert sum(p.numel() for p in model.parameters()) == expected

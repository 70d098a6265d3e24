"""Any text encoder of transformers: `hf-text:MODEL`, MODEL a folder or an id on the hub.

Feature of a piece of text, one row: `feature=mean`, the mean over the last four layers and over the
text's own tokens (special tokens left out); `feature=cls`, the last layer's first token. Of a model
with encoder and decoder, the encoder. Long texts: one row for every `max_tokens` tokens, at most
what the network can read (see `tokens.py`). No code of a model is run; weights are safetensors, or
read as tensors only.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from scfae.store.errors import ConfigError, WeightsMismatch

from ..encoder import Encoder, EncoderSpec
from ..entry import EncoderEntry
from ..hf_models import FoundModel, build_model, find_model
from ..options import Option, check_options
from ..recipe import MediaKind
from ..tokens import TextRecipe, specials_of, tokenizer_of

LAYERS = 4
_NO_LIMIT = 1 << 20
_DEFAULT_TOKENS = 512
OPTIONS = {
    "feature": Option("mean", str, choices=("mean", "cls")),
    "max_tokens": Option(None, int, least=3),
}


class HfText(Encoder):
    """A text encoder; `forward` takes token ids `[B, N]`, without padding."""

    pads_batches = False

    def __init__(
        self, spec: EncoderSpec, module: nn.Module, device: torch.device, recipe: TextRecipe
    ) -> None:
        super().__init__(spec, module, device)
        self._recipe = recipe
        self._before, self._after = map(len, specials_of(recipe.folder))

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens `[B, N, D]`: the mean of the last four layers, or for `cls` the last."""
        if self.spec.recipe["feature"] == "cls":
            last: Tensor = self.module(input_ids=x).last_hidden_state
            return last
        layers = self.module(input_ids=x, output_hidden_states=True).hidden_states
        return torch.stack(layers[-LAYERS:]).mean(dim=0)

    def pool(self, tokens: Tensor) -> Tensor:
        """Return the mean over the text's own tokens, or the first token `[B, D]`."""
        if self.spec.recipe["feature"] == "cls":
            return tokens[:, 0]
        return tokens[:, self._before : tokens.shape[1] - self._after].mean(dim=1)

    def recipe(self, kind: MediaKind) -> TextRecipe:
        """Return the pre-processing of text."""
        return self._recipe


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return a text encoder; see `load_encoder`."""
    values, given = check_options(entry.name, options, OPTIONS)
    found = find_model(entry, weights)
    module = build_model(found, entry.name)
    if module.config.is_encoder_decoder:
        module = module.get_encoder()
    if module.main_input_name != "input_ids":
        raise ConfigError(
            f"{entry.name}: reads {module.main_input_name}, not text; use hf: instead of hf-text:."
        )
    try:
        tokenizer = tokenizer_of(str(found.folder))
        before, after = map(len, specials_of(str(found.folder)))
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:160]
        raise WeightsMismatch(
            f"{found.folder}: has no tokenizer that can be read ({why})."
        ) from None
    length = _length(entry.name, found, module, tokenizer, values["max_tokens"])
    if length <= before + after:
        raise ConfigError(f"{entry.name}: option max_tokens must be at least {before + after + 1}.")
    dim = int(getattr(module.config, "hidden_size", 0) or getattr(module.config, "d_model", 0))
    spec = replace(entry, name=found.name, dim=dim).spec(
        found.weights,
        options=given,
        rows_per_second=None,
        recipe={
            "feature": values["feature"],
            "layers": "last" if values["feature"] == "cls" else f"mean of the last {LAYERS}",
            "tokens": "first" if values["feature"] == "cls" else "mean, special tokens left out",
            "max_tokens": length,
            "longer": "a row for every piece of max_tokens",
            "network": type(module).__name__,
        },
        packages=("torch", "transformers", "tokenizers"),
    )
    return HfText(
        replace(spec, weights_sha256=found.sha256),
        module,
        device,
        TextRecipe(str(found.folder), length),
    )


def _length(encoder: str, found: FoundModel, module: Any, tokenizer: Any, asked: int | None) -> int:
    """Return the tokens of a piece: what was asked for, within what the network can read."""
    limit = getattr(module.config, "max_position_embeddings", None) or _NO_LIMIT
    if module.config.model_type in _OFFSET_POSITIONS:
        limit -= module.config.pad_token_id + 1  # its positions are counted from there
    limit = min(limit, tokenizer.model_max_length)
    if asked is not None and asked > limit:
        raise ConfigError(f"{encoder}: option max_tokens must be at most {limit}, not {asked}.")
    return int(asked or min(limit, _DEFAULT_TOKENS))


_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer")

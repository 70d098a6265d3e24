"""Small models of transformers with seeded random weights, saved as folders of the hub look."""

from pathlib import Path

import torch

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "dog",
    "ran",
    "far",
    "away",
    "under",
    "old",
    "trees",
    "near",
    "river",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_bert(folder: Path, *, seed: int = 0, positions: int = 24, name: str = "bert") -> Path:
    """Write a BERT of 32 features and five layers, with a tokenizer of a few words."""
    from transformers import BertConfig, BertModel, BertTokenizer

    target = folder / name
    target.mkdir(parents=True)
    vocabulary = target / "vocab.txt"
    vocabulary.write_text("\n".join([*SPECIAL, *WORDS]))
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=5,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=positions,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
    model.save_pretrained(target)
    BertTokenizer(vocab=str(vocabulary)).save_pretrained(target)
    return target

"""Small models of transformers with seeded random weights, saved as folders of the hub look."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def write_vit(folder: Path, *, has_pooler: bool = True) -> Path:
    """Write a ViT of 24 features that reads pictures of 32 x 32."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    config = ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        initializer_range=0.3,
    )
    target = _save(lambda: ViTModel(config, add_pooling_layer=has_pooler), folder / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(target)
    return target


def write_videomae(folder: Path) -> Path:
    """Write a VideoMAE of 24 features that reads 4 frames of 32 x 32."""
    from transformers import VideoMAEConfig, VideoMAEImageProcessor, VideoMAEModel

    config = VideoMAEConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        num_frames=4,
        initializer_range=0.3,
    )
    target = _save(lambda: VideoMAEModel(config), folder / "videomae")
    VideoMAEImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(target)
    return target


def write_wav2vec2(folder: Path) -> Path:
    """Write a Wav2Vec2 of 24 features whose rows are 32 samples apart at 8 kHz, and see 50."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16),
        conv_kernel=(8, 7),
        conv_stride=(4, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        initializer_range=0.3,
    )
    target = _save(lambda: Wav2Vec2Model(config), folder / "wav2vec2")
    extractor: Any = Wav2Vec2FeatureExtractor
    extractor(sampling_rate=8_000, do_normalize=True).save_pretrained(target)
    return target


def write_clip_model(folder: Path) -> Path:
    """Write a CLIP whose pictures of 32 x 32 have 24 features, and 10 when projected."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    small = {
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "projection_dim": 10,
    }
    config = CLIPConfig(
        text_config={**small, "vocab_size": 40},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=10,
    )
    target = _save(lambda: CLIPModel(config), folder / "clip")
    CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(target)
    return target


def write_whisper(folder: Path) -> Path:
    """Write a Whisper of 24 features that reads 1 s at 16 kHz, 50 rows."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        vocab_size=40,
        d_model=24,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50,
        num_mel_bins=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    target = _save(lambda: WhisperModel(config), folder / "whisper")
    extractor: Any = WhisperFeatureExtractor
    extractor(feature_size=16, chunk_length=1).save_pretrained(target)
    return target


def _save(build: Callable[[], Any], target: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build().save_pretrained(target)
    return target

"""Fusion methods behind one interface; pure torch, importing nothing else of scfae.

`features` by modality and presence `[B, M]` in; a fused vector, per-modality embeddings and named
auxiliary losses out. What is absent, and padding, cannot change an output.
"""

from .base import Fusion
from .concat import Concat
from .counting import count_flops, count_parameters
from .cross_attention import CrossAttention
from .gradients import combined_backward
from .heads import (
    ClassificationHead,
    MultiLabelHead,
    RegressionHead,
    RetrievalHead,
    make_head,
)
from .info import FusionInfo, TrainingRecipe
from .input_norm import InputNorm, TrainingBatch
from .mapping import SwiGLU
from .output import FusionOutput
from .pooling import AttentionPooling, MeanPooling, masked_mean
from .published import PublishedFigure, published_rows
from .registry import build_fusion, fusion_info, list_fusions
from .scfae import SCFAE

__all__ = [
    "SCFAE",
    "AttentionPooling",
    "ClassificationHead",
    "Concat",
    "CrossAttention",
    "Fusion",
    "FusionInfo",
    "FusionOutput",
    "InputNorm",
    "MeanPooling",
    "MultiLabelHead",
    "PublishedFigure",
    "RegressionHead",
    "RetrievalHead",
    "SwiGLU",
    "TrainingBatch",
    "TrainingRecipe",
    "build_fusion",
    "combined_backward",
    "count_flops",
    "count_parameters",
    "fusion_info",
    "list_fusions",
    "make_head",
    "masked_mean",
    "published_rows",
]

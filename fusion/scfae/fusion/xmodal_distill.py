"""Cross-modal distillation: the rich modality's classifier teaches the poor ones'. Ours.

Stands in for CMKT (Zhou et al., ESWA 2025), of which neither code nor enough text is public: it is
no reproduction. One modality is the teacher (`teacher`), the others are students. Each has an
embedding of unit length and a classifier on it; embeddings of the teacher and of each student are
aligned by contrast, and a student's outputs follow the teacher's, which are held constant:

    info_nce   between the teacher's embedding and each student's
    distill    tau^2 KL(teacher || student) of softened classes, tau = 4 (Hinton et al.,
               arXiv 1503.02531); the square error where there is one output

The logits are the mean of the classifiers' over what is there, so the task's loss trains them all.

Shapes: B samples, W width of the embeddings, C outputs.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo
from .losses import info_nce, mean_over_present
from .output import FusionOutput
from .presence import Inputs
from .towers import Towers, for_head, mean_of_present


class XModalDistill(Fusion):
    """A teacher modality, students, and a classifier on each.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs C of each classifier; None builds none, and nothing is distilled.
        pooling: `mean` or `attention`.
        width: Width W of an embedding and of the hidden layer before it.
        teacher: The modality that teaches; None: the widest, the first of equals.
        softening: tau.
        temperature: Of InfoNCE.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        width: int = 256,
        teacher: str | None = None,
        softening: float = 4.0,
        temperature: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, pooling=pooling, check_finite=check_finite)
        if width < 1 or softening <= 0 or temperature <= 0:
            raise ValueError(
                f"width, softening, temperature: positive, not {width}, {softening}, {temperature}"
            )
        self.teacher = teacher or max(self.modalities, key=lambda m: self.dims[m])
        if self.teacher not in self.dims:
            raise ValueError(f"teacher: must be one of {', '.join(dims)}, not {teacher!r}")
        self.softening = softening
        self.temperature = temperature
        self.embed = Towers(self.dims, width, width, unit=True)
        self.output_dim = width * len(self.modalities)
        self.classifiers = nn.ModuleDict()
        if num_outputs is not None:
            for m in self.modalities:
                self.classifiers[m] = nn.Linear(width, num_outputs)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`, the embeddings times sqrt W, for a head.

        `z` and `shared_from` hold the embeddings `[B, W]`. They have unit length, or are zero where
        absent: a retrieval's score is their cosine.
        """
        present = inputs.present
        z = self.embed(self.pooled(inputs), present)
        read = dict(zip(z, for_head(z), strict=True))
        logits = {m: head(read[m]) for m, head in self.classifiers.items()}
        here = {m: present[:, i] for i, m in enumerate(self.modalities)}
        contrast, distilled = [], []
        for m in self.modalities:
            if m == self.teacher:
                continue
            both = here[m] & here[self.teacher]
            contrast.append(
                info_nce(z[self.teacher], z[m], temperature=self.temperature, valid=both)
            )
            if logits:
                errors = distill_errors(logits[self.teacher].detach(), logits[m], self.softening)
                distilled.append(mean_over_present(errors, both, present))
        losses = {"info_nce": torch.stack(contrast).sum()}
        if distilled:
            losses["distill"] = torch.stack(distilled).sum()
        return FusionOutput(
            fused=torch.cat(list(read.values()), dim=1),
            z=z,
            shared_from=z,
            losses=losses,
            logits=mean_of_present(logits, present) if logits else None,
        )


def distill_errors(teacher: Tensor, student: Tensor, softening: float) -> Tensor:
    """Return `tau^2 KL(softmax(teacher / tau) || softmax(student / tau))`, `[B]`.

    With one output, whose softmax is always 1, it is the square error.

    Args:
        teacher: Logits `[B, C]`.
        student: Logits `[B, C]`.
        softening: tau.
    """
    teacher, student = teacher.float(), student.float()
    if teacher.shape[1] == 1:
        return (teacher - student).square()[:, 0]
    truth = (teacher / softening).log_softmax(dim=1)
    guess = (student / softening).log_softmax(dim=1)
    return softening**2 * F.kl_div(guess, truth, reduction="none", log_target=True).sum(dim=1)


INFOS = (
    FusionInfo(
        name="xmodal_distill",
        method=XModalDistill,
        paper_row="CMKT",
        source="ours, in place of Zhou et al., ESWA 2025, which is not public in enough detail",
        faithfulness="substitute",
        missing="its embedding is zero, it is in no loss, the logits are the mean of the rest",
        deviations=("No reproduction of CMKT: classifier distillation and InfoNCE.",),
        min_modalities=2,
        batch_losses=("info_nce",),
        is_ours=True,
    ),
)

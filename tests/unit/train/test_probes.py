"""Linear models of one modality: what they may learn from, and what not."""

import numpy as np

from scfae.train.probes import _Linear
from scfae.train.tasks import MultiLabel


def test_an_unknown_label_is_not_taken_for_no() -> None:
    """Nine in ten do not say whether they are happy: taken for no, nobody would be."""
    rng = np.random.default_rng(0)
    truth = np.arange(400) % 2
    x = truth[:, None] * 2.0 - 1.0 + 0.1 * rng.standard_normal((400, 1))
    unknown = np.arange(400) % 11 != 0
    labels = np.stack([np.where(unknown, np.nan, truth), truth, np.full(400, np.nan)], axis=1)
    task = MultiLabel("happy,sad,odd", ("happy", "sad", "odd"), (0.5, 0.5, 0.5))
    scores = _Linear(task, x, labels, 1.0).scores(x)
    for column in (0, 1):
        np.testing.assert_array_equal(scores[:, column] > 0.5, truth == 1)
    np.testing.assert_array_equal(scores[:, 2], 0.0)  # no label at all

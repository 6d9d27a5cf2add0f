# SPDX-License-Identifier: Apache-2.0
"""What a step minimizes, of student and peers alike."""

import torch

from noise import noise
from road_kd_seg.networks import SegmentationNetwork, SegOutput
from road_kd_training.objective import CROSS_ENTROPY, PEER_CROSS_ENTROPY, STUDENT, Learner


class Fixed(SegmentationNetwork):
    """Logits that no image changes."""

    def __init__(self, logits):
        super().__init__(logits.shape[1])
        self.logits = torch.nn.Parameter(logits)
        self.feature_info = {}

    def forward(self, rgb, depth=None):
        return SegOutput(self.logits, {})


WEIGHTS = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
TARGET = torch.tensor([[[0, 1], [2, 255]]])


def test_peers_honor_the_class_weights_as_the_student_does():
    """Equal networks have equal losses, whichever of them is called the peer."""
    logits = noise(1, 3, 2, 2).float()
    learner = Learner(Fixed(logits), {0: Fixed(logits.clone())}, {}, WEIGHTS.float())
    image = torch.zeros(1, 3, 2, 2)
    terms = learner({STUDENT: (image, None), 0: (image, None)}, {}, TARGET, 0)
    torch.testing.assert_close(terms[PEER_CROSS_ENTROPY], terms[CROSS_ENTROPY])
    unweighted = Learner(Fixed(logits), {}, {}, None)({STUDENT: (image, None)}, {}, TARGET, 0)
    assert not torch.isclose(terms[PEER_CROSS_ENTROPY], unweighted[CROSS_ENTROPY])

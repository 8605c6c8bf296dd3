"""Divergence: how far one network's softened class probabilities are from another's."""

import torch.nn.functional as F
from torch import Tensor


def softened(learner: Tensor, shown: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(softmax(shown / T) || softmax(learner / T)) of logits [B, K]: summed over classes,
    averaged over the batch.
    """
    divergence = F.kl_div(
        F.log_softmax(learner / temperature, dim=1),
        F.log_softmax(shown / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence

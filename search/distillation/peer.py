"""Peer collaborative learning: peers on a common stem, taught by all of them and by their means."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.optim.swa_utils import AveragedModel

from pareconv.search.answers import Listener
from pareconv.search.distillation.base import OnlineMethod, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.divergence import softened
from pareconv.search.distillation.ramp import ramped
from pareconv.search.distillation.setting import Setting
from pareconv.search.precision import fast


@dataclass(frozen=True)
class PeerLearning(OnlineMethod):
    """CE(z_e, y) + sum over the peers j of [CE(z_j, y) + w T^2 KL(p_e || p_j) + w mean over the
    others l of T^2 KL(pm_l || p_j)], targets without a gradient.

    Peers share their layers up to the last but one stage, and each sees the images moved in a way
    of its own. z_e is the answer of a linear layer on the pooled features of all; pm_l that of the
    moving average of peer l, whose decay is min(1 - 1 / (step + 1), d): with d = 0.999 it looks
    back 1,000 of 117,000 steps there, here over the share `memory` of the training. w grows by
    exp(-5 (1 - e / E)^2) to 1 at the share `ramp` of the training, E = 80 of 300 epochs there.

    Peer collaborative learning, Wu and Gong 2021, arXiv 2006.04147, by its reimplementation
    (github.com/shaoeric/Peer-Collaborative-Learning-for-Online-Knowledge-Distillation), whose
    ramp-up divides the epoch by 1 in place of E; here it does as the formula says. There all peers
    start from random weights, here the first goes on from its trial. Deployed is its average (in
    the finish, which keeps one of everything, an average of that).
    """

    name = "peer"
    summary = "peers on a common stem teach each other by their ensemble and their averages"
    formula = "CE(z_e) + sum_j [CE(z_j) + w T^2 KL(p_e || p_j) + w mean_l T^2 KL(pm_l || p_j)]"
    cost = "the training of the other peers, and a forward pass of the average of each"
    source = "Wu and Gong 2021, arXiv 2006.04147 (by a reimplementation)"
    when = "No trained teacher, and compute for several students."
    parameters = (
        Parameter("peers", 3, 2, 16, "m: how many, the deployed one included"),
        Parameter("temperature", 3.0, 0.01, 100.0, "T: softens the logits of all"),
        Parameter("ramp", 0.27, 0.0, 1.0, "share of the training after which w is 1"),
        Parameter("memory", 0.01, 0.0, 1.0, "share of the training that averages look back on"),
    )

    peers: int
    temperature: float
    ramp: float
    memory: float

    def course(self, setting: Setting) -> Course:
        return _PeerCourse(self, setting)


class _PeerCourse(Course):
    def __init__(self, method: PeerLearning, setting: Setting) -> None:
        assert setting.answers is not None
        stem, last = ([None, *setting.answers.taps])[-2:]
        assert last is not None
        twins = [setting.twin(number, stem) for number in range(1, method.peers)]
        super().__init__([setting.student, *twins])
        self._method, self._views = method, setting.views
        self._peers = [Listener(each, [last]) for each in self.networks]
        self._decay, self._step = 0.0, 0
        self.averages = [self._average(each) for each in self.networks]
        with torch.no_grad():
            channels = self._peers[0](setting.sample).features[0].shape[1]
        with setting.chance("head"):
            head = nn.Linear(method.peers * channels, setting.classes)
        self.head = head.to(setting.sample.device)

    @property
    def extras(self) -> Sequence[nn.Module]:
        return [self.head]

    @property
    def onlookers(self) -> Sequence[nn.Module]:
        return [each.module for each in self.averages]

    @property
    def deployed(self) -> nn.Module:
        return self.averages[0].module

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        views = [
            batch.images if peer == 0 else self._views.moved_again(batch.numbers, peer)
            for peer in range(len(self.networks))
        ]
        answers = [peer(images) for peer, images in zip(self._peers, views, strict=True)]
        means = [self._mean(*pair) for pair in zip(self.averages, views, strict=True)]
        with fast(batch.images.device):
            pooled = [each.features[0].mean((2, 3)) for each in answers]
            ensemble = self.head(torch.cat(pooled, dim=1)).float()
        weight = ramped(batch.done, self._method.ramp)
        temperature = self._method.temperature
        terms = {"ensemble_labels": F.cross_entropy(ensemble, batch.labels)}
        for number, answer in enumerate(answers):
            others = [mean for place, mean in enumerate(means) if place != number]
            shown = [softened(answer.logits, mean, temperature) for mean in others]
            taught = softened(answer.logits, ensemble.detach(), temperature)
            terms[f"labels_{number}"] = F.cross_entropy(answer.logits, batch.labels)
            terms[f"ensemble_{number}"] = weight * taught
            terms[f"means_{number}"] = weight * torch.stack(shown).mean()
        return terms

    def after_step(self, done: float) -> None:
        self._step += 1
        remembered = self._method.memory * self._step / done  # steps
        self._decay = 1 - 1 / max(1.0, min(self._step, remembered))
        for average, network in zip(self.averages, self.networks, strict=True):
            average.update_parameters(network)

    def _average(self, network: fx.GraphModule) -> AveragedModel:
        """Of the weights and statistics."""

        def averaged(mean: Tensor, current: Tensor, _: Tensor | int) -> Tensor:
            return self._decay * mean + (1 - self._decay) * current

        average = AveragedModel(network, avg_fn=averaged, use_buffers=True)
        average.module.requires_grad_(False).eval()
        return average

    @staticmethod
    def _mean(average: AveragedModel, images: Tensor) -> Tensor:
        with torch.no_grad(), fast(images.device):
            logits: Tensor = average.module(images)
        return logits.float()

"""Sparse representation matching: which codewords of the teacher's features an image calls for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.search.answers import Listener
from pareconv.search.distillation.base import Method, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.kd import LogitDistillation
from pareconv.search.distillation.plain import Lesson
from pareconv.search.distillation.setting import Setting
from pareconv.search.imitation import relative_error

_SEEN = 64  # images of whose features codewords are made
_LENGTH = 2.0  # root of the mean square, of pixels as a dictionary sees them


@dataclass(frozen=True)
class SparseMatching(Method):
    """Three phases, after the share of the training that each begins at:

    1. A dictionary D [C, M] learns each tapped stage of the teacher: a pixel x [C] has the
       similarities s = sigmoid(D^T x + b); the largest of them, s', give it back: |D s' - x|^2.
       Pixels are scaled to a mean square length of 4 first: longer ones saturate the sigmoids.
    2. The student, with similarities of its own, learns which codewords the teacher has: BCE(mean
       of s over the image, mean of s' of the teacher) + CE(s, the teacher's largest), for each
       stage.
    3. `kd`.

    M = mu C, and the largest mu nu C are kept, at least one. Tran et al. 2021, arXiv 2103.17012, in
    the authors' code (github.com/viebboy/SRM), which feeds the sigmoids to the cross-entropy as
    logits, and trains the phases one by one with Adam, 100, 160 and 200 epochs. Here they share one
    schedule; the teacher's codewords start from pixels of its features, the student's, whose stages
    are of the same shape, from the teacher's codewords as they are after the first phase; and the
    error of the dictionary is taken relative to the features' energy.
    """

    name = "sparse_matching"
    summary = "first which codewords the teacher's features call for, then its logits"
    formula = "|D s' - x|^2; then BCE(g_s, g_t) + CE(s_s, argmax s_t); then kd"
    cost = "a forward pass of the teacher, once for each view"
    source = "Tran et al. 2021, arXiv 2103.17012 (paper and code)"
    when = "Students from random weights, in long trainings; one from a library has its features."
    parameters = (
        Parameter("temperature", 4.0, 0.01, 100.0, "T: softens the logits of both"),
        Parameter("alpha", 0.5, 0.0, 1.0, "weight of the teacher; the labels get 1 - alpha"),
        Parameter("mu", 2.0, 0.1, 16.0, "codewords for each channel"),
        Parameter("nu", 0.02, 0.0, 1.0, "share of the codewords that a pixel keeps"),
        Parameter("matching", 0.1, 0.0, 1.0, "share of the training after which 2 begins"),
        Parameter("distilling", 0.4, 0.0, 1.0, "share of the training after which 3 begins"),
    )

    temperature: float
    alpha: float
    mu: float
    nu: float
    matching: float
    distilling: float

    def course(self, setting: Setting) -> Course:
        return _SparseCourse(self, setting)


class _SparseCourse(Course):
    def __init__(self, method: SparseMatching, setting: Setting) -> None:
        super().__init__([setting.student])
        assert setting.answers is not None
        self._method, self._answers = method, setting.answers
        self._listener = Listener(setting.student, self._answers.taps)
        numbers = torch.arange(min(_SEEN, len(setting.views.split)))
        features = self._answers(numbers, setting.views[numbers][0]).features
        with setting.chance("dictionaries"):
            self.teachers, self.students = (
                [Dictionary(each.float(), method.mu, method.nu) for each in features]
                for _ in range(2)
            )
        self._begun, self._untaught = False, 0

    @property
    def extras(self) -> Sequence[nn.Module]:
        return [*self.teachers, *self.students]

    @property
    def untaught(self) -> int:
        return self._untaught

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        shown = self._answers(batch.numbers, batch.images)
        if batch.done < min(self._method.matching, self._method.distilling):
            self._untaught += len(batch.labels)
            return {"dictionary": self._dictionary(shown.features)}
        own = self._listener(batch.images)
        if batch.done < self._method.distilling:
            return {"matching": self._matching(own.features, shown.features)}
        kd = LogitDistillation(self._method.temperature, self._method.alpha)
        return kd.terms(Lesson(own, batch.labels, shown))

    def _dictionary(self, shown: Sequence[Tensor]) -> Tensor:
        pairs = zip(self.teachers, shown, strict=True)
        return torch.stack([each.error(features) for each, features in pairs]).sum()

    def _matching(self, own: Sequence[Tensor], shown: Sequence[Tensor]) -> Tensor:
        if not self._begun:
            for student, teacher in zip(self.students, self.teachers, strict=True):
                student.load_state_dict(teacher.state_dict())
            self._begun = True
        stages = zip(self.students, self.teachers, own, shown, strict=True)
        return torch.stack([_mismatch(*stage) for stage in stages]).sum()


def _mismatch(student: "Dictionary", teacher: "Dictionary", own: Tensor, shown: Tensor) -> Tensor:
    similar = student.similarities(student.scaled(own))
    with torch.no_grad():
        kept = teacher.largest(teacher.similarities(teacher.scaled(shown)))
    images = F.binary_cross_entropy(similar.mean((2, 3)), kept.mean((2, 3)))
    return images + F.cross_entropy(similar, kept.argmax(1))


class Dictionary(nn.Module):
    """M codewords [C, M] for the pixels of features [B, C, H, W], drawn from such pixels."""

    def __init__(self, features: Tensor, mu: float, nu: float) -> None:
        super().__init__()
        channels = features.shape[1]
        pixels = features.transpose(0, 1).flatten(1)  # [C, B*H*W]
        length = float(pixels.square().sum(0).mean().sqrt())
        self._scale = _LENGTH / length if length else 1.0
        chosen = torch.randint(pixels.shape[1], (max(1, int(mu * channels)),))
        self.codewords = nn.Parameter(self._scale * pixels[:, chosen.to(pixels.device)])
        self.intercept = nn.Parameter(pixels.new_empty(1).uniform_(-1, 1))
        self.kept = max(1, int(mu * nu * channels))

    def scaled(self, features: Tensor) -> Tensor:
        """[B, C, H, W] as the other methods want them."""
        return self._scale * features.float()

    def error(self, features: Tensor) -> Tensor:
        """Mean relative error of giving back `features` [B, C, H, W], which are not scaled yet."""
        pixels = self.scaled(features)
        return relative_error(self.restored(pixels), pixels).mean()

    def similarities(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, M, H, W], each 0..1."""
        products = torch.einsum("bchw,cm->bmhw", features, self.codewords)
        return torch.sigmoid(products + self.intercept)

    def largest(self, similarities: Tensor) -> Tensor:
        """The same with all but the largest of each pixel 0."""
        values, places = similarities.topk(self.kept, dim=1)
        return torch.zeros_like(similarities).scatter(1, places, values)

    def restored(self, features: Tensor) -> Tensor:
        """[B, C, H, W] made of the codewords again."""
        kept = self.largest(self.similarities(features))
        return torch.einsum("bmhw,cm->bchw", kept, self.codewords)

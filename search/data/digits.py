"""The digits: scikit-learn's 1,797 handwritten digits of 8x8 pixels, which need no download."""

import torch

from pareconv.search.data.images import Images, resize
from pareconv.search.data.splits import hold_out_test

AUTO_SIZE = 32
WHITE = 16  # the greatest value of a pixel in scikit-learn's data


def load(size: int) -> Images:
    """RGB of `size` pixels a side, a fixed fifth of each class held out as the test split."""
    # Here, as the import takes a second that no other data set should pay.
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = torch.from_numpy(data.images).mul(255 / WHITE).round().to(torch.uint8)
    images = resize(grey[:, None].expand(-1, 3, -1, -1), size)
    labels = torch.from_numpy(data.target).long()
    train, test = hold_out_test(labels)
    return Images(
        name="digits",
        classes=tuple(str(name) for name in data.target_names),
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
    )

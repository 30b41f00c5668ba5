"""A small classifier of a data set's labels, whose inner activations are the features that scores compare."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fewstep.support.errors import InvalidInput

FEATURES = 64
SMALL = 0.01  # of the mean variance: directions that vary less are hardly amplified


class Classifier(nn.Module):
    """uint8 images [B, C, H, W] -> (features [B, 64], logits [B, num_classes]).

    The features are the values before the last non-linearity, which nothing saturates, whitened over the training
    images. A classifier's raw features collapse to one direction a class (Papyan et al. 2020), where the distance of
    two sets is mostly that of their class proportions; whitened, variety within a class counts as much.
    """

    def __init__(self, shape: Sequence[int], num_classes: int):
        super().__init__()
        channels, height, width = shape
        check_sides(shape)
        self.shape, self.num_classes = (channels, height, width), num_classes
        maps, side, layers = 12, min(height, width), _convolution(channels, 12)
        while side > 4:
            wider = min(2 * maps, 96)
            layers += _convolution(maps, wider, stride=2) + _convolution(wider, wider)
            maps, side = wider, (side + 1) // 2
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * maps, FEATURES, bias=False)]
        self.trunk = nn.Sequential(*layers, nn.BatchNorm1d(FEATURES))
        self.head = nn.Sequential(nn.SiLU(), nn.Dropout(0.2), nn.Linear(FEATURES, num_classes))
        self.whitening = nn.Linear(FEATURES, FEATURES).requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(images.float() / 127.5 - 1)
        return self.whitening(hidden), self.head(hidden)


def check_sides(shape: Sequence[int]) -> None:
    """Raise ValueError for images, [C, H, W], that are too small or too large for the classifier."""
    if not all(8 <= side <= 64 for side in shape[1:]):
        raise InvalidInput(
            f"evaluation.features=classifier needs images with sides of 8 to 64 pixels, got {shape[1]} x {shape[2]}: "
            "larger ones are judged by evaluation.features=inception."
        )


def _convolution(channels: int, maps: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, maps, 3, stride, padding=1, bias=False), nn.BatchNorm2d(maps), nn.SiLU()]


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    seed: int,
    *,
    epochs: int = 20,
    most_pixels: int = 200_000_000,
    on_progress: Callable[[int, int], None] | None = None,
) -> Classifier:
    """A classifier of images (uint8 [N, C, H, W]) in eval mode: the same seed and thread count give the same bits.

    It sees each image `epochs` times, or fewer where that would be more than `most_pixels` in all. The digits take two
    seconds, larger data at most about two minutes. on_progress(step, steps).
    """
    batch = min(64, len(images))
    seen = min(epochs * len(images), most_pixels // int(np.prod(images.shape[2:])))
    steps = max(10, seen // batch)
    with torch.random.fork_rng([]), torch.enable_grad():
        torch.manual_seed(seed)
        classifier = Classifier(images.shape[1:], num_classes)
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
        for step, rows in enumerate(_batches(len(images), batch, steps), 1):
            _, logits = classifier(torch.from_numpy(images[rows]))
            loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if on_progress:
                on_progress(step, steps)
    classifier.eval().requires_grad_(False)
    _whiten(classifier, images[:10_000])
    return classifier


def _batches(count: int, batch: int, steps: int) -> Iterator[np.ndarray]:
    """Sorted rows of each batch; every row is used once before any is used twice."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(count)])
        yield order[:batch].sort().values.numpy()
        order = order[batch:]


def _whiten(classifier: Classifier, images: np.ndarray) -> None:
    """Set the whitening: mean 0 and (nearly) unit covariance over these images."""
    parts = [classifier.trunk(_tensor(images[i : i + 500]).float() / 127.5 - 1) for i in range(0, len(images), 500)]
    hidden = torch.cat(parts).double()
    variances, axes = torch.linalg.eigh(hidden.T.cov())
    matrix = axes / (variances + SMALL * variances.mean()).sqrt() @ axes.T
    classifier.whitening.weight.copy_(matrix)
    classifier.whitening.bias.copy_(-matrix @ hidden.mean(0))


def accuracy(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of images (uint8 [N, C, H, W]) whose label it finds."""
    with torch.inference_mode():
        found = [classifier(_tensor(images[i : i + 500]))[1].argmax(1) for i in range(0, len(images), 500)]
    return float((torch.cat(found).numpy() == labels).mean())


def rotations(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each image in four orientations, and the number of the turn as its label (Gidaris et al. 2018).

    A task for images that have no labels of their own. uint8 [N, C, H, W] -> [4 N, C, H, W], [4 N]. Those that are not
    square have two orientations.
    """
    turns = range(4) if images.shape[2] == images.shape[3] else (0, 2)
    turned = np.stack([np.rot90(images, k, axes=(2, 3)) for k in turns], axis=1)
    return turned.reshape(-1, *images.shape[1:]), np.tile(np.arange(len(turns)), len(images))


def _tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(images))

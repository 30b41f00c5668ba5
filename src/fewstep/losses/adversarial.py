"""The hinge loss of a discriminator, and of those that it judges, [B]. Lim and Ye 2017.

discriminator: a module of (x, labels) -> [B], high for data.
"""

from torch import Tensor, nn
from torch.func import functional_call


def judge_loss(discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
    """The discriminator's, whose gradient reaches it alone."""
    return (1 - discriminator(real, labels)).relu() + (1 + discriminator(fake.detach(), labels)).relu()


def deception_loss(discriminator: nn.Module, fake: Tensor, labels: Tensor | None) -> Tensor:
    """That of who made the fakes, whose gradient does not reach the discriminator."""
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    return -functional_call(discriminator, frozen, (fake, labels))

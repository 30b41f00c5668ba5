"""Images of any number of channels, in three."""

import torch

from fewstep.support.colour import bytes_to_rgb, to_rgb


def test_gray_is_repeated_and_transparency_is_on_white():
    gray, colours = torch.rand(2, 1, 3, 4) * 2 - 1, torch.rand(2, 3, 3, 4) * 2 - 1
    assert torch.equal(to_rgb(gray), gray.repeat(1, 3, 1, 1))
    assert torch.equal(to_rgb(colours), colours)
    full, none = torch.ones(2, 1, 3, 4), -torch.ones(2, 1, 3, 4)
    assert torch.allclose(to_rgb(torch.cat([colours, full], 1)), colours)
    assert torch.equal(to_rgb(torch.cat([colours, none], 1)), torch.ones_like(colours))
    assert torch.allclose(to_rgb(torch.cat([colours, 0 * full], 1)), (colours + 1) / 2)


def test_bytes_come_as_bytes():
    image = torch.tensor([10, 20, 30, 51], dtype=torch.uint8).view(1, 4, 1, 1)
    assert bytes_to_rgb(image).dtype == torch.uint8
    assert bytes_to_rgb(image).flatten().tolist() == [206, 208, 210]  # a fifth of the colour, four fifths of 255
    assert torch.equal(bytes_to_rgb(image[:, :3]), image[:, :3])

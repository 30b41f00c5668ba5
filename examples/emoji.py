"""Emoji as pictures of 32x32 in folders by kind: colour data of an open licence that need no download of their own.

sudo apt-get install fonts-noto-color-emoji      # SIL Open Font License 1.1
python examples/emoji.py /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf data/01_raw/emoji
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE = 109  # at which the font has its pictures
SIDE, MARGIN = 32, 1  # of the pictures written, in pixels
# Kinds that people recognise, by code points; what is in none of them is left out.
KINDS = {
    "faces": [(0x1F600, 0x1F644), (0x1F910, 0x1F917), (0x1F920, 0x1F92F), (0x1F970, 0x1F97A), (0x1FAE0, 0x1FAE9)],
    "animals": [(0x1F400, 0x1F43E), (0x1F980, 0x1F9AE), (0x1FAB0, 0x1FABD)],
    "food": [(0x1F32D, 0x1F37F), (0x1F950, 0x1F96F), (0x1F9C0, 0x1F9CB), (0x1FAD0, 0x1FADB)],
    "things": [(0x1F380, 0x1F393), (0x1F3A0, 0x1F3F0), (0x1F4A0, 0x1F53D), (0x1F680, 0x1F6C5), (0x1FA70, 0x1FA9F)],
    "nature": [(0x1F300, 0x1F32C), (0x1F490, 0x1F490), (0x1FAA8, 0x1FAAF), (0x1F5FB, 0x1F5FF)],
}


def drawn(code: int, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    """An emoji on white, or None where the font has none of this code point."""
    left, top, right, bottom = font.getbbox(chr(code))
    if right <= left or bottom <= top:
        return None
    side = max(right - left, bottom - top)
    picture = Image.new("RGB", (side, side), "white")
    corner = (side - (right - left)) // 2 - left, (side - (bottom - top)) // 2 - top
    ImageDraw.Draw(picture).text(corner, chr(code), font=font, embedded_color=True)
    if not picture.convert("L").point(lambda value: value < 250).getbbox():
        return None
    small = picture.resize((SIDE - 2 * MARGIN,) * 2, Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (SIDE, SIDE), "white")
    framed.paste(small, (MARGIN, MARGIN))
    return framed


def emoji(font: ImageFont.FreeTypeFont) -> Iterator[tuple[str, int, Image.Image]]:
    """The kind, the code point and the picture of each."""
    for kind, ranges in KINDS.items():
        for first, last in ranges:
            for code in range(first, last + 1):
                if picture := drawn(code, font):
                    yield kind, code, picture


def main(file: str, folder: str) -> None:
    font, count = ImageFont.truetype(file, SIZE), 0
    for kind, code, picture in emoji(font):
        place = Path(folder) / kind
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{code:x}.png")
        count += 1
    print(f"{count} emoji in {folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])

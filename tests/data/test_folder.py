"""Folders of pictures of every kind."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from fewstep.data import ingest, load_source

RAMP = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, 2)
RGB = np.random.RandomState(0).randint(0, 256, (8, 8, 3)).astype(np.uint8)


def save(path, pixels=RGB, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)


def converted(store):
    """{kind: how many}."""
    return {kind: count for kind, (count, _) in store.source["found"]["converted"].items()}


def ingest_one(tmp_path, image, suffix="png", spec=(), **options):
    """What one picture becomes; two 8x8 companions make a store of it. Returns (uint8 [C, H, W], store)."""
    save(tmp_path / "in" / f"a.{suffix}", image, **options)
    save(tmp_path / "in" / "b.png", RAMP)
    save(tmp_path / "in" / "c.png", RAMP)
    spec = {"name": "folder", "path": str(tmp_path / "in"), "resolution": 8, **dict(spec)}
    store = ingest(spec, tmp_path / "out", heldout=0.3)
    return next(row for row in store.images() if not np.array_equal(row[0], RAMP[..., 0])), store


def test_subfolders_are_labels_in_sorted_order(tmp_path):
    for i in range(12):
        save(tmp_path / "in" / ("cat", "ant", "bee")[i % 3] / "deeper" / f"{i}.png", np.full((4, 4, 3), i, np.uint8))
    save(tmp_path / "in" / ".hidden" / "x.png")
    save(tmp_path / "in" / "ant" / ".y.png")
    (tmp_path / "in" / "readme.txt").write_text("not a picture")
    calls = []
    spec = {"name": "folder", "path": str(tmp_path / "in")}
    store = ingest(spec, tmp_path / "out", on_progress=lambda done, total: calls.append((done, total)))
    assert store.space.classes == ("ant", "bee", "cat")
    names = [name for name, _ in load_source(spec).listing().pictures()]
    assert names == sorted(names)
    assert store.space.shape == (3, 4, 4)
    for image, label in zip(store.images(), store.labels(), strict=True):
        assert ("cat", "ant", "bee")[image[0, 0, 0] % 3] == store.space.classes[label]
    assert np.bincount(store.labels("heldout")).tolist() == [1, 1, 1]
    assert calls == [(i + 1, 24) for i in range(24)]


def test_pictures_directly_in_the_folder_have_no_labels(tmp_path):
    pixels, store = ingest_one(tmp_path, RGB)
    np.testing.assert_array_equal(pixels, RGB.transpose(2, 0, 1))
    assert set(store.labels()) == {-1}
    assert store.space.classes == ()


def test_loose_pictures_beside_labelled_ones_are_refused(tmp_path):
    save(tmp_path / "loose.png")
    with pytest.raises(ValueError, match=r"loose\.png.*beside sub-folders"):
        ingest_one(tmp_path, RGB, "png", {"path": str(tmp_path)})


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("webp", {"lossless": True}),
        ("JPEG", {"quality": 100}),
        ("jfif", {"quality": 100}),
        ("jpe", {"quality": 100}),
        ("bmp", {}),
        ("gif", {}),
        ("tif", {}),
        ("tiff", {}),
        ("avif", {"quality": 100}),
    ],
)
def test_formats(tmp_path, suffix, options):
    flat = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    pixels, _ = ingest_one(tmp_path, flat, suffix, **options)
    np.testing.assert_allclose(pixels[:, 0, 0], (200, 100, 50), atol=2)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    deep = (np.arange(64).reshape(8, 8) * 1040).astype(np.uint16)
    pixels, store = ingest_one(tmp_path, deep, spec={"mode": "grayscale"})
    np.testing.assert_array_equal(pixels[0], np.rint(deep / 257))
    assert pixels.max() == 255
    assert converted(store) == {"16-bit": 1, "colour to grayscale": 2}


@pytest.mark.parametrize("value", [-1, 70000])
def test_values_beyond_sixteen_bits_are_a_broken_picture(tmp_path, value):
    save(tmp_path / "in" / "a.tif", np.full((8, 8), value, np.int32))
    for name in "bc":
        save(tmp_path / "in" / f"{name}.png", RAMP)
    source = load_source({"name": "folder", "path": str(tmp_path / "in")})
    with pytest.raises(ValueError, match=rf"a\.tif cannot be read \(its values reach from {value} to {value}, beyond"):
        source.survey(lambda *_: None)
    store = ingest({"name": "folder", "path": str(tmp_path / "in"), "skip_broken": True}, tmp_path / "out")
    assert store.source["found"]["left_out"] == {"pictures that cannot be read": [1, f"{tmp_path}/in/a.tif"]}


def test_transparency_shows_the_background(tmp_path):
    rgba = np.dstack([np.full((8, 8, 3), (10, 20, 30), np.uint8), np.full((8, 8), 255, np.uint8)])
    rgba[:4, :, 3] = 0
    for background, expected in (("white", (255, 255, 255)), ("#ff0000", (255, 0, 0))):
        pixels, store = ingest_one(tmp_path, rgba, spec={"background": background})
        assert tuple(pixels[:, 0, 0]) == expected
        assert tuple(pixels[:, 7, 0]) == (10, 20, 30)
        assert converted(store) == {"transparent": 1}
    rgba[..., 3] = 255
    assert converted(ingest_one(tmp_path, rgba)[1]) == {}


def test_palettes_become_colours_and_keep_their_transparency(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 9, 8, 7, 6, 5, 4])
    image.putpixel((0, 0), 2)
    pixels, store = ingest_one(tmp_path, image, transparency=2)
    assert tuple(pixels[:, 0, 0]) == (255, 255, 255)
    assert tuple(pixels[:, 1, 1]) == (9, 8, 7)
    assert converted(store) == {"palette": 1, "transparent": 1}


def test_cmyk_is_converted(tmp_path):
    pixels, store = ingest_one(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "jpg", quality=100)
    np.testing.assert_allclose(pixels[:, 4, 4], (255, 0, 0), atol=3)
    assert converted(store) == {"CMYK": 1}


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # seen after a quarter turn clockwise
    pixels, store = ingest_one(tmp_path, RGB, exif=exif)
    np.testing.assert_array_equal(pixels, np.rot90(RGB, -1).transpose(2, 0, 1))
    assert converted(store) == {"turned by EXIF": 1}


def test_the_middle_square_is_kept_and_averaged(tmp_path):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, :32], wide[:, 64:] = 255, 255
    wide[:, 32:64] = (np.indices((32, 32)).sum(0) % 2 * 200)[..., None]
    pixels, _ = ingest_one(tmp_path, wide, spec={"resampling": "box"})
    assert (pixels == 100).all()
    small, store = ingest_one(tmp_path, np.full((4, 4, 3), 77, np.uint8))
    assert small.shape == (3, 8, 8)
    assert (small == 77).all()
    assert converted(store) == {"enlarged": 1}


def test_a_resolution_of_two_sides_is_height_and_width(tmp_path):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 16:80] = 255  # the middle of 1 : 2
    _, store = ingest_one(tmp_path, wide, spec={"resolution": [8, 16], "resampling": "box"})
    assert store.space.shape == (3, 8, 16)
    assert [(row[..., 1:-1] > 250).all() for row in store.images()].count(True) == 1  # Lanczos sees past the edges
    assert converted(store) == {"cropped to the middle": 3, "enlarged": 2, "made smaller": 1}
    assert store.sha256 == ingest_one(tmp_path, wide, spec={"resolution": (8, 16), "resampling": "box"})[1].sha256


def test_rgba_keeps_transparency(tmp_path):
    rgba = np.dstack([RGB, np.full((8, 8), 255, np.uint8)])
    rgba[:4, :, 3], rgba[0, 0] = 99, (1, 2, 3, 0)
    pixels, store = ingest_one(tmp_path, rgba, spec={"mode": "rgba", "background": "#0a141e"})
    assert store.space.shape == (4, 8, 8)
    assert tuple(pixels[:, 0, 0]) == (10, 20, 30, 0)  # the background, where a colour cannot be seen
    rgba[0, 0] = (10, 20, 30, 0)
    np.testing.assert_array_equal(pixels, rgba.transpose(2, 0, 1))
    assert converted(store) == {"without transparency": 2}
    opaque = next(row for row in store.images() if (row[0] == RAMP[..., 0]).all())
    assert (opaque[3] == 255).all()


def test_rgba_is_resized_without_the_colour_of_what_is_transparent(tmp_path):
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[:, 1::2] = (200, 100, 50, 255)
    pixels, _ = ingest_one(tmp_path, rgba, spec={"mode": "rgba", "resampling": "box"})
    np.testing.assert_allclose(pixels[:, 4, 4], (200, 100, 50, 127.5), atol=1)


@pytest.mark.parametrize("kind", ["1", "L", "LA", "P", "CMYK", "YCbCr", "RGB"])
def test_every_kind_of_pixels_becomes_rgba(tmp_path, kind):
    image = Image.new("RGB", (8, 8), (255, 255, 255)).convert(kind)
    suffix = "jpg" if kind in ("CMYK", "YCbCr") else "png"
    pixels, _ = ingest_one(tmp_path, image, suffix, spec={"mode": "rgba"})
    assert (pixels == 255).all()


def test_mixed_sizes_need_a_resolution(tmp_path):
    with pytest.raises(ValueError, match=r"a\.png is 6x4, .*b\.png is 8x8\. Set a resolution"):
        ingest_one(tmp_path, np.zeros((4, 6, 3), np.uint8), spec={"resolution": None})


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_truncated_picture_stops_or_is_skipped_by_name(tmp_path, suffix):
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    save(tmp_path / "in" / f"broken.{suffix}", noise)
    content = (tmp_path / "in" / f"broken.{suffix}").read_bytes()
    (tmp_path / "in" / f"broken.{suffix}").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ValueError, match=rf"broken\.{suffix} cannot be read.*skip_broken"):
        ingest_one(tmp_path, RGB)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    _, store = ingest_one(tmp_path, RGB, spec={"skip_broken": True})
    assert store.count == 3
    assert store.source["found"]["skipped"] == [str(tmp_path / "in" / f"broken.{suffix}")]


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    for path, words in (
        ("inn", r"There is no folder or file .*inn. Did you mean .*/in\?"),
        ("in/*.png", "There is no .*Patterns are not read here: give the folder"),
        ("a" * 300, "aaa cannot be read: File name too long"),
    ):
        with pytest.raises(ValueError, match=words):
            ingest({"name": "folder", "path": str(tmp_path / path)}, tmp_path / "out")
    with pytest.raises(ValueError, match="and its sub-folders hold no picture"):
        ingest({"name": "folder", "path": str(tmp_path / "in")}, tmp_path / "out")
    (tmp_path / "in" / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"none of the pictures can be read \(1 in all\)"):
        ingest({"name": "folder", "path": str(tmp_path / "in"), "skip_broken": True}, tmp_path / "out")
    (tmp_path / "in" / "a.png").unlink()
    (tmp_path / "in" / "a.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"a\.png cannot be read \(No such file or directory\)"):
        ingest({"name": "folder", "path": str(tmp_path / "in")}, tmp_path / "out")


def test_pictures_for_training_must_be_left(tmp_path):
    for place in ("train", "test"):
        (tmp_path / "in" / place).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(RGB).save(tmp_path / "in" / place / f"{number}.png")
            if place == "train":
                (tmp_path / "in" / place / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="folder: none of the pictures for training can be read"):
        ingest({"name": "folder", "path": str(tmp_path / "in"), "skip_broken": True}, tmp_path / "out")


def test_pictures_are_never_all_in_memory(tmp_path):
    save(tmp_path / "in" / "0.png", np.tile(RGB, (32, 32, 1)))
    for i in range(1, 400):
        (tmp_path / "in" / f"{i}.png").hardlink_to(tmp_path / "in" / "0.png")
    tracemalloc.start()
    ingest({"name": "folder", "path": str(tmp_path / "in"), "mode": "grayscale"}, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6 < 400 * 256 * 256


def png_of(width, height):
    """A small PNG that says it has so many pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(13_300, 13_300), (65_500, 2700)])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_read(tmp_path, size):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bomb.png").write_bytes(png_of(*size))
    words = rf"bomb.png cannot be read \(it has {size[0]:,} x {size[1]:,} pixels, and at most 67,108,864 are read"
    began = time.monotonic()
    with pytest.raises(ValueError, match=words):
        ingest({"name": "folder", "path": str(tmp_path / "in"), "resolution": 8}, tmp_path / "out")
    assert time.monotonic() - began < 5
    (tmp_path / "in" / "bomb.png").write_bytes(png_of(2**31 - 1, 2**31 - 1))
    with pytest.raises(ValueError, match=r"its first bytes promise more pixels than can be read \(178,956,970\)"):
        ingest({"name": "folder", "path": str(tmp_path / "in"), "resolution": 8}, tmp_path / "out")
    with pytest.raises(ValueError, match="most_pixels must be between 1 and"):
        ingest({"name": "folder", "path": str(tmp_path / "in"), "most_pixels": 10**12}, tmp_path / "out")

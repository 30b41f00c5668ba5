"""Requests that a server has to refuse, of every kind: nested, huge, of wrong types, broken in transit."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from functools import cache
from random import Random

from PIL import Image

GOOD = (
    {"num_images": 2, "nfe": 2, "seed": 3},
    {"num_images": 1, "nfe": 1, "seed": 5, "edit": {"task": "interpolate", "frames": 3, "to": 7}},
)
JSON, CSV = "application/json", "text/csv"
NOT_WHOLE = ("one", 1.5, None, [1], {"a": 1}, True, float("nan"), float("inf"))
NOT_TEXT = (3, None, ["inpaint"], {"task": "inpaint"}, False)


def of_requests(*requests: object) -> bytes:
    return json.dumps({"inputs": list(requests)}).encode()


@cache
def picture(width: int, height: int, kind: str = "png") -> str:
    """A black one in base64."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def nested(random: Random) -> bytes:
    depth = random.choice((3, 1_000, 5_000, 100_000))
    return b'{"inputs": ' + random.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth)) + b"}"


def long_number(random: Random) -> bytes:
    digits = b"9" * random.choice((20, 400, 4_300, 100_000))
    return b'{"inputs": [{"%s": %s}]}' % (random.choice((b"num_images", b"nfe", b"seed")), digits)


def long_name(random: Random) -> bytes:
    return of_requests({random.choice("xé\n\ud800") * random.choice((1, 1_000, 1_000_000)): 1})


def wrong_type(random: Random) -> bytes:
    name = random.choice(("num_images", "nfe", "seed", "edit", "reload"))
    return of_requests(random.choice(GOOD) | {name: random.choice(("x", 1.5, [1], float("nan")))})


def wrong_type_in_an_edit(random: Random) -> bytes:
    name, values = random.choice((("frames", NOT_WHOLE[:2]), ("to", NOT_WHOLE[:2]), ("task", NOT_TEXT)))
    return of_requests({"edit": GOOD[1]["edit"] | {name: random.choice(values)}})


def out_of_range(random: Random) -> bytes:
    name = random.choice(("num_images", "nfe"))
    return of_requests({name: random.choice((0, -1, 257, 10**6, -(10**30), 10**400))})


def too_much(random: Random) -> bytes:
    few = {"num_images": random.randint(130, 256), "nfe": random.randint(9, 64)}
    return of_requests(*random.choice(([few], [few] * 40, [{}] * 257, [{}] * 40_000)))


def unknown_label(random: Random) -> bytes:
    return of_requests(
        {"label": random.choice((10**6, -1, 1.5, "no such class", "a\nb", "\ud800", [1], {"a": 1}, True))}
    )


def bad_edit(random: Random) -> bytes:
    pictures = ("x", "=" * 100, picture(3, 3), picture(13_000, 13_000), picture(8, 8, "bmp"), "/etc/passwd", "")
    task = random.choice(("inpaint", "stroke", "denoise", "superresolve", "inpant", "", "x" * 10_000))
    return of_requests({"edit": {"task": task, "images": [random.choice(pictures)]}})


def bad_option(random: Random) -> bytes:
    between = {"task": "interpolate"}
    options = ({"frames": 10**9}, {"frames": 1}, {"level": 0.5}, {"mask": "center"}, {"file": "/etc/passwd"})
    edits = (*(between | option for option in options), {"task": "denoise", "level": float("nan")})
    return of_requests({"edit": random.choice(edits)})


def other_shape(random: Random) -> bytes:
    request = random.choice(GOOD)
    return json.dumps(
        random.choice(([request], {"instances": [request]}, {"inputs": request}, {"inputs": [[1]]}, 3, None))
    ).encode()


def broken(random: Random) -> bytes:
    """A good one with a bracket, a quote, a comma or a colon lost, or another letter in its place."""
    body = of_requests(random.choice(GOOD))
    place = random.choice([place for place, letter in enumerate(body) if letter in b'{}[]":,'])
    return body[:place] + random.choice((b"", b"x", b"\x00", b"\xff")) + body[place + 1 :]


def cut(random: Random) -> bytes:
    body = of_requests(random.choice(GOOD))
    return body[: random.randrange(len(body))]


def misspelt(random: Random) -> bytes:
    request = dict(random.choice(GOOD))
    name = random.choice(list(request))
    return of_requests({name + random.choice("sz_ "): request.pop(name)} | request)


def as_csv(random: Random) -> bytes:
    return b"num_images,nfe\n" + b"1,1\n" * random.randint(1, 1000)


KINDS: tuple[Callable[[Random], bytes], ...] = (
    nested, long_number, long_name, wrong_type, wrong_type_in_an_edit, out_of_range, too_much, unknown_label, bad_edit,
    bad_option, other_shape, broken, cut, misspelt, as_csv,
)  # fmt: skip


def bad_requests(count: int, seed: int) -> Iterator[tuple[str, bytes, str]]:
    """(kind, body, content type) of each, the same for the same seed."""
    random = Random(seed)
    for number in range(count):
        make = KINDS[number % len(KINDS)]
        yield make.__name__, make(random), CSV if make is as_csv else JSON

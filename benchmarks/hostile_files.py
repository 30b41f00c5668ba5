"""Files that no reader may be hurt by: bombs, lies about sizes, ways out, depth, and whole ones with bytes changed."""

import base64
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

Make = Callable[[Random, Path], Path]
FORMATS = ("png", "jpeg", "webp", "bmp", "gif", "tiff", "avif")
BIG = (10**5, 2**31 - 1, 2**32 - 1, 10**12, 2**62)
DEEP = (100, 1_000, 20_000, 200_000)
JSONS = (b"[%s]", b'{"a": %s}')


def noise(draw: Random, count: int) -> bytes:
    return draw.randbytes(count)


def changed(content: bytes, draw: Random) -> bytes:
    """With bytes flipped, cut, doubled, zeroed or put in, at up to four places, more often near an end."""
    for _ in range(draw.randint(1, 4)):
        end = draw.choice((min(64, len(content)), len(content)))
        at = draw.randrange(max(1, end)) if draw.random() < 0.7 else max(0, len(content) - 1 - draw.randrange(64))
        size = draw.choice((1, 4, 8, 100))
        piece = draw.choice((noise(draw, size), b"\0" * size, b"\xff" * size, content[at : at + size] * 2, b""))
        content = content[:at] + piece + content[at + draw.choice((0, size)) :]
        if draw.random() < 0.1:
            content = content[:at]
    return content


def deep(draw: Random, inside: bytes = b"1") -> bytes:
    """JSON (and YAML) nested deeply."""
    before, after = draw.choice(JSONS).split(b"%s")
    depth = draw.choice(DEEP)
    return before * depth + inside + after * depth


# ---- pictures


def picture(draw: Random, kind: str, side: int = 8) -> bytes:
    file = io.BytesIO()
    pixels = np.frombuffer(noise(draw, side * side * 3), np.uint8).reshape(side, side, 3)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, *more: tuple[bytes, bytes], depth: int = 8, colour: int = 0) -> bytes:
    """A PNG whose sizes need not be true. rows: before they are packed."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def hostile_picture(draw: Random) -> tuple[str, bytes]:
    """(a suffix, the content)."""
    kind = draw.randrange(8)
    if kind == 0:  # a bomb of zeros, up to far more than is read
        side = draw.choice((4_000, 8_000, 13_300, 30_000))
        return "png", png(side, side, b"\0" * min(side * (side + 1), 2**25))
    if kind == 1:
        return "png", png(draw.choice(BIG[:3]), draw.choice((1, *BIG[:3])), b"\0" * 100)
    if kind == 2:  # text and a profile that unpack to much
        packed = zlib.compress(b"\0" * draw.choice((10**6, 10**8)), 9)
        extra = draw.choice(((b"zTXt", b"k\0\0" + packed), (b"iCCP", b"p\0\0" + packed)))
        return "png", png(8, 8, b"\0" * 72, *[extra] * draw.choice((1, 5)))
    if kind == 3:  # sizes in the middle of a true header
        name = draw.choice(FORMATS)
        content = bytearray(picture(draw, name))
        at = draw.randrange(4, min(len(content) - 4, 200))
        content[at : at + 2] = draw.choice((b"\xff\xff", b"\x7f\xff"))
        return name, bytes(content)
    if kind == 4:
        name = draw.choice(("gif", "webp", "tiff"))
        file, frame = io.BytesIO(), Image.new("L", (8, 8))
        frame.save(file, name, save_all=True, append_images=[frame] * draw.choice((10, 1000)))
        return name, changed(file.getvalue(), draw) if draw.random() < 0.5 else file.getvalue()
    if kind == 5:
        return draw.choice(FORMATS), draw.choice(
            (b"", noise(draw, 1000), b"\x89PNG", b"II*\0\x08\0\0\0" + b"\xff" * 90)
        )
    if kind == 6:  # TIFF: a directory that is its own next one, or has tags of any count
        tags = b"".join(struct.pack("<HHII", 256 + n, 4, draw.choice(BIG[:3]), 8) for n in range(10))
        return "tiff", b"II*\0\x08\0\0\0" + struct.pack("<H", 10) + tags + struct.pack("<I", 8)
    name = draw.choice(FORMATS)
    return name, changed(picture(draw, name), draw)


def folder_of_pictures(draw: Random, folder: Path) -> Path:
    for number in range(2):
        (folder / f"good{number}.png").write_bytes(picture(draw, "png"))
    suffix, content = hostile_picture(draw)
    (folder / f"x.{suffix}").write_bytes(content)
    return folder


def request_of_an_edit(draw: Random, folder: Path) -> Path:
    content = hostile_picture(draw)[1]
    (folder / "request").write_bytes(base64.b64encode(content) if draw.random() < 0.9 else content)
    return folder / "request"


# ---- tables


def parquet(draw: Random, folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / "train.parquet"
    kind = draw.randrange(6)
    good = [picture(draw, "png") for _ in range(4)]
    if kind == 0:  # pictures of zeros, which are packed to nearly nothing
        rows = [b"\0" * draw.choice((10**6, 10**8))] * draw.choice((1, 20))
        table = pa.table({"image": rows, "label": [0] * len(rows)})
    elif kind == 1:  # very many rows in a few bytes
        count = draw.choice((10**6, 10**8))
        labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array([draw.choice((0, 7))]))
        images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array(good[:1]))
        table = pa.table({"image": images, "label": labels})
    elif kind == 2:
        labels = [draw.choice((2**62, -5, 10**6, 3)) for _ in good]
        table = pa.table({"image": good, "label": labels})
    elif kind == 3:
        words = [draw.choice(("x" * 10**6, "\0", "../..", "")) for _ in good]
        table = pa.table({"image": good, "label": words})
    elif kind == 4:
        names = json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a"] * 10**5}}}})
        known = draw.choice((names.encode(), deep(draw), b"\xff", b"{}"))
        table = pa.table({"image": good, "label": [0, 0, 1, 1]}).replace_schema_metadata({b"huggingface": known})
    else:
        table = pa.table({"image": good, "label": [0, 0, 1, 1]})
    pq.write_table(table, file, compression=draw.choice(("zstd", "snappy", "none")))
    if kind == 5:
        file.write_bytes(changed(file.read_bytes(), draw))
    return file


def table_of_labels(draw: Random, folder: Path) -> Path:
    """metadata.jsonl or metadata.csv beside pictures."""
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(draw, "png"))
    rows = [{"file_name": f"{number}.png", "label": number % 2} for number in range(3)]
    lines: list[bytes] = [json.dumps(row).encode() for row in rows]
    odd = draw.choice(
        (
            deep(draw),
            b'{"file_name": "../../etc/passwd", "label": 0}',
            b'{"file_name": "0.png", "label": 1e999}',
            b"\xff",
            b'{"file_name": "0.png", "label": ' + b"9" * draw.choice((30, 5000)) + b"}",
            b"{" + b" " * 10**7 + b"}",
            b"3",
            b'{"file_name": ["0.png"], "label": 0}',
            b'{"file_name": "0.png", "label": {"a": 1}}',
            b"null",
            b'"' * 10**5,
            b'{"file_name": "' + b"x" * 10**6 + b'", "label": 0}',
            noise(draw, 200),
        )
    )
    lines.insert(draw.randrange(4), odd)
    if draw.random() < 0.6:
        (folder / "metadata.jsonl").write_bytes(b"\n".join(lines))
    else:
        table = b"file_name,label\n0.png,0\n1.png,1\n2.png,0\n" + draw.choice((odd, b'"' + b"x" * 200_000))
        (folder / "metadata.csv").write_bytes(changed(table, draw) if draw.random() < 0.5 else table)
    return folder


# ---- archives


NAMES = (
    "../evil.png",
    "/etc/evil.png",
    "a/../../b.png",
    "x" * 300 + ".png",
    "a\0b.png",
    "..\\evil.png",
    "a/\xe9.png",
    "",
)


def zipped(draw: Random, folder: Path) -> Path:
    file, packed = io.BytesIO(), draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    kind = draw.randrange(6)
    with zipfile.ZipFile(file, "w", packed) as archive:
        for number in range(3):
            archive.writestr(f"{number}/a.png", picture(draw, "png"))
        if kind == 0:
            archive.writestr("0/zeros.png", b"\0" * draw.choice((10**7, 10**8)), zipfile.ZIP_DEFLATED)
        elif kind == 1:
            archive.writestr(draw.choice(NAMES) or "0/x.png", picture(draw, "png"))
        elif kind == 2:
            for number in range(draw.choice((1000, 20_000))):
                archive.writestr(f"0/{number}.txt", b"")
        elif kind == 3:
            name = draw.choice(("metadata.jsonl", "metadata.csv", "dataset.json", "0/a.json"))
            archive.writestr(name, draw.choice((deep(draw), b"[" * 10**6, b" " * 6 * 10**7, b'{"labels": [[1]]}')))
        elif kind == 4:
            archive.writestr("inner.zip", b"PK\x03\x04" + noise(draw, 100))
    content = file.getvalue()
    if kind == 5 or draw.random() < 0.2:
        content = changed(content, draw)
    (folder / "x.zip").write_bytes(content)
    return folder / "x.zip"


def tarred(draw: Random, folder: Path) -> Path:
    packed = draw.choice(("", "gz", "bz2", "xz"))
    file, kind = folder / f"x.tar{packed and f'.{packed}'}", draw.randrange(7)

    def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **facts: Any) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for fact, value in facts.items():
            setattr(info, fact, value)
        archive.addfile(info, io.BytesIO(content))

    with tarfile.open(file, f"w:{packed}") as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for number in range(3):
            add(archive, f"{number}.png", picture(draw, "png"))
            add(archive, f"{number}.cls", str(number % 2).encode())
        if kind == 0:
            add(archive, "zeros.png", b"\0" * draw.choice((10**7, 10**8)))
        elif kind == 1:
            add(archive, draw.choice(NAMES[:4]), picture(draw, "png"))
        elif kind == 2:
            links = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE)
            add(
                archive, "link.png", type=draw.choice(links), linkname=draw.choice(("/etc/passwd", "../..", "link.png"))
            )
        elif kind == 3:
            label = draw.choice(
                (deep(draw), b"9" * 5000, b"\xff", b"x" * 10**6, b'{"label": [1]}', b'{"label": 1e400}')
            )
            add(archive, "3.png", picture(draw, "png"))
            add(archive, f"3.{draw.choice(('json', 'cls'))}", label)
        elif kind == 4:
            for number in range(draw.choice((1000, 5000))):
                add(archive, f"n{number}.txt")
    content = file.read_bytes()
    if kind == 5:
        content = changed(content, draw)
    if kind == 6 and not packed:  # a member larger than the archive
        content = content[:124] + b"%011o\0" % draw.choice((10**5, 2**32)) + content[136:]
    file.write_bytes(content)
    return file


def lmdb(draw: Random, folder: Path) -> Path:
    meta = (
        struct.pack("<QHHI", 0, 0, 8, 0) + struct.pack("<IIQQ", 0xBEEFC0DE, 1, 0, draw.choice(BIG)) + noise(draw, 200)
    )
    content = draw.choice((meta.ljust(4096, b"\0") * 2 + noise(draw, 4096), noise(draw, 10_000), b""))
    (folder / "data.mdb").write_bytes(content)
    if draw.random() < 0.5:
        (folder / "lock.mdb").write_bytes(noise(draw, 100))
    return folder


# ---- arrays


def npy_header(shape: object, dtype: str, draw: Random) -> bytes:
    fortran = draw.random() < 0.1
    text = f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    if draw.random() < 0.1:
        text = draw.choice(
            (b"[" * 5000, b"(" * 100 + b")" * 100, b"{'descr': 1}", b"9" * 9000, b"{" + b" " * 60_000 + b"}")
        )
    text = text.ljust(-(-(len(text) + 11) // 64) * 64 - 11) + b"\n"
    version = draw.choice((b"\x01\0", b"\x02\0", b"\x03\0", b"\x09\0"))
    size = struct.pack("<H", len(text) % 2**16) if version == b"\x01\0" else struct.pack("<I", len(text))
    return b"\x93NUMPY" + version + size + text


SHAPES = (
    (4, 8, 8, 3),
    (4, 3, 8, 8),
    (4, 8, 8),
    (10**9, 0, 5, 3),
    (10**12, 8, 8, 3),
    (0, 8, 8, 3),
    (-1, 8, 8, 3),
    (2**62, 4, 4, 3),
    (4, 2**31, 2**31, 3),
    (4,),
    (),
    (10**9, 0),
    (1, 10**6, 10**6, 3),
    (4, 8, 8, 3, 1),
)
DTYPES = ("|u1", "<i8", "|O", "<f4", "|V9", "<U1000000", "[('a', '|u1')]", "nonsense")


def npy(draw: Random, folder: Path) -> Path:
    shape, dtype = draw.choice(SHAPES), draw.choice(DTYPES) if draw.random() < 0.4 else "|u1"
    content = npy_header(shape, dtype, draw) + noise(draw, 4 * 8 * 8 * 3)
    (folder / "images.npy").write_bytes(changed(content, draw) if draw.random() < 0.3 else content)
    if draw.random() < 0.5:
        labels = np.array([draw.choice((0, 1, 2**62, -7)) for _ in range(4)])
        np.save(folder / "labels.npy", labels)
    return folder


def npz(draw: Random, folder: Path) -> Path:
    file, kind = io.BytesIO(), draw.randrange(4)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        if kind == 0:  # one row of very many pixels, packed to nearly nothing
            side = draw.choice((3_000, 9_000, 20_000))
            with archive.open("images.npy", "w") as member:
                header = {"descr": "|u1", "fortran_order": False, "shape": (draw.choice((1, 3)), side, side, 1)}
                np.lib.format.write_array_header_1_0(member, header)
                for _ in range(header["shape"][0] * side):
                    member.write(b"\0" * side)
        else:
            shape = draw.choice(SHAPES)
            content = npy_header(shape, draw.choice(DTYPES) if kind == 2 else "|u1", draw) + noise(draw, 768)
            archive.writestr("images.npy", content)
        count = draw.choice((4, 4, 10**7))
        member = io.BytesIO()
        np.save(member, np.full(count, draw.choice((0, 3, 100)), draw.choice((np.int64, np.uint8, np.float32))))
        archive.writestr(draw.choice(("labels.npy", "y.npy", "../labels.npy")), member.getvalue())
    content = file.getvalue()
    (folder / "x.npz").write_bytes(changed(content, draw) if kind == 3 else content)
    return folder / "x.npz"


# ---- models


def weights(draw: Random, header: dict[str, Any] | bytes, size: int = 1000) -> bytes:
    """A safetensors file of any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = draw.choice(BIG) if draw.random() < 0.1 else len(text)
    return struct.pack("<Q", length % 2**64) + text + noise(draw, size)


def hostile_weights(draw: Random, good: bytes) -> bytes:
    kind = draw.randrange(5)
    if kind == 0:
        entry = {"dtype": draw.choice(("F32", "F8_E4M3", "X")), "shape": [draw.choice(BIG), 4]}
        return weights(draw, {"a": {**entry, "data_offsets": [0, draw.choice((16, *BIG))]}})
    if kind == 1:
        return weights(draw, deep(draw))
    if kind == 2:  # very many tensors, all of the same bytes
        entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        return weights(draw, {f"t{number}": entry for number in range(draw.choice((1000, 50_000)))}, 0)
    if kind == 3:
        return noise(draw, 1000)
    return changed(good, draw)


def with_fact(facts: dict[str, Any], draw: Random) -> dict[str, Any]:
    """Facts in which one value, at any depth, is another."""
    facts = json.loads(json.dumps(facts))
    sections = [facts]
    for section in sections:
        sections += [value for value in section.values() if isinstance(value, dict) and value]
    section = draw.choice(sections)
    nested: Any = []
    for _ in range(draw.choice((1, 500))):
        nested = [nested]
    section[draw.choice(list(section))] = draw.choice(
        (
            None,
            -1,
            0,
            10**30,
            1e308,
            float("nan"),
            "",
            "x" * 10**5,
            "../../evil",
            [],
            {},
            [1] * 10**4,
            True,
            nested,
            40_000,
        )
    )
    if draw.random() < 0.2:
        section.pop(draw.choice(list(section)))
    return facts


def sealed(facts: dict[str, Any]) -> bytes:
    """With a fresh seal: whoever changes a file can seal it."""
    from fewstep.support.tensor_files import seal

    open_facts = {name: value for name, value in facts.items() if name != "seal"}
    return json.dumps({**open_facts, "seal": seal(open_facts)}).encode()


def of_a_folder(good: Path, described: str, tensors: str) -> Make:
    """A copy of a sealed folder in which one of the two files is hostile."""

    def make(draw: Random, folder: Path) -> Path:
        target = folder / good.name
        target.mkdir()
        for file in good.iterdir():
            if file.is_file():
                (target / file.name).write_bytes(file.read_bytes())
        facts = (target / described).read_bytes()
        kind = draw.randrange(5)
        if kind < 2:
            (target / described).write_bytes(sealed(with_fact(json.loads(facts), draw)))
        elif kind == 2:
            other = (
                deep(draw),
                b"",
                b"[]",
                b"null",
                b"\xff" * 10,
                b'{"a": ' + b"9" * 5000 + b"}",
                changed(facts, draw),
            )
            (target / described).write_bytes(draw.choice(other))
        else:
            (target / tensors).write_bytes(hostile_weights(draw, (target / tensors).read_bytes()))
        return target

    return make


def of_a_store(good: Path) -> Make:
    """A copy of a data store with a hostile description or hostile arrays."""

    def make(draw: Random, folder: Path) -> Path:
        for file in good.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        facts = json.loads((folder / "store.json").read_text())
        kind = draw.randrange(3)
        if kind == 0:
            (folder / "store.json").write_text(json.dumps(with_fact(facts, draw)))
        elif kind == 1:
            (folder / "store.json").write_bytes(
                draw.choice((deep(draw), b"", b"[]", b"\xff", changed(b"{}" * 9, draw)))
            )
        else:
            name = draw.choice(("images.npy", "labels.npy"))
            shape = npy_header(draw.choice(SHAPES), draw.choice(DTYPES), draw) + noise(draw, 1000)
            content = draw.choice((shape, changed((folder / name).read_bytes(), draw)))
            (folder / name).write_bytes(content)
        return folder

    return make


# ---- pickles


def _opcodes(draw: Random) -> bytes:
    """A program of random opcodes, most of which put something on the stack."""
    usual = (
        b"K\x01",
        b"]",
        b"}",
        b")",
        b"X\x01\0\0\0a",
        b"N",
        b"(",
        b"q\x00",
        b"h\x00",
        b"a",
        b"e",
        b"u",
        b"s",
        b"R",
        b"b",
        b"2",
    )
    names = (
        b"cos\nsystem\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nFloatStorage\n",
    )
    return b"\x80\x04" + b"".join(draw.choice(usual + names) for _ in range(draw.randint(5, 200))) + b"."


def pickled(draw: Random, folder: Path) -> Path:
    import torch

    file, kind = folder / "x.pt", draw.randrange(7)
    if kind == 0:
        content = b"\x80\x04" + draw.choice((b"]", b"}", b")")) * 10 + b"(" * draw.choice(DEEP) + b"."
    elif kind == 1:
        size = struct.pack("<Q", draw.choice(BIG))
        content = b"\x80\x04" + draw.choice((b"\x96", b"\x8e", b"\x8d", b"\x95")) + size + b"abc."
    elif kind == 2:  # lists of two references to one list of two references, and so on, as keys and as arguments
        content = b"\x80\x04K\x01" + b"2\x86" * draw.choice((30, 200))
        content += draw.choice((b"}q\x00h\x000.", b"ccollections\nOrderedDict\n2R.", b"cos\nsystem\n."))
    elif kind == 3:
        content = _opcodes(draw)
    elif kind == 4:
        name = b"x" * draw.choice((10, 10**6))
        content = b"\x80\x04c" + draw.choice((b"os", name)) + b"\n" + draw.choice((b"system", name)) + b"\n."
    elif kind == 5:
        content = b"\x80\x02\x8a\xff" + noise(draw, 255) + b"." + b"I" + b"9" * draw.choice((30, 10_000)) + b"\n."
    else:
        kept = io.BytesIO()
        state = {"a.weight": torch.zeros(4, 4), "b": torch.zeros(3)}
        torch.save(state, kept, _use_new_zipfile_serialization=draw.random() < 0.5)
        content = draw.choice((changed(kept.getvalue(), draw), changed(pickle.dumps({"ema": state}), draw)))
    file.write_bytes(content)
    return file


# ---- configurations


def yaml_file(draw: Random, folder: Path) -> Path:
    depth = draw.choice((5, 9, 40))
    laughs = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, depth))
    odd: tuple[bytes, ...] = (
        laughs.encode(),
        deep(draw),
        b"a: &a [*a]",
        b"a: !!python/object/apply:os.system [ls]",
        b"\xff\xfe",
        b"a: 1\na: 2",
        b"a: ${oc.env:HOME}",
        b"a: " + b"9" * 10**5,
        b"? [1, 2]\n: 3",
        b"%s: 1" % (b"x" * 10**6),
        b"a: |\n" + b" x\n" * 10**5,
        b"<<: [1]",
        b"<<: *b",
        b"a: 1e99999",
        b"- 1",
        b"{" * 500,
        b"\t",
        b"a:\0",
        b"{[1, 2]: 3}",
        b"- " * draw.choice((500, 5000)),
    )
    base = b"recipe: cd\nteacher:\n  training: {images: 100, batch_size: 8}\n"
    content = draw.choice(odd) if draw.random() < 0.7 else changed(base, draw)
    (folder / "parameters.yml").write_bytes(content)
    return folder / "parameters.yml"


def hostile_files(make: Make, count: int, seed: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """(its seed, where it is) of each file, in a folder of its own; the same for the same seed."""
    for number in range(seed, seed + count):
        own = folder / str(number)
        own.mkdir(parents=True)
        yield number, make(Random(number), own)

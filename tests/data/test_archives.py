"""zip and tar archives: read as folders are, and nothing that they say leads anywhere else."""

import gzip
import io
import tarfile
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from fewstep.data import archives, ingest, load_source
from fewstep.data.archives import open_tree


def png(value=0):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    for i in range(12):
        file = tmp_path / "in" / ("cat", "dog")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(i))
    (tmp_path / "in" / "owl").mkdir()
    return tmp_path / "in"


def zipped(folder, path, wrap=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, wrap + str(file.relative_to(folder)))
    return path


def test_an_archive_is_what_its_folder_is(tmp_path, folder):
    expected = ingest({"name": "folder", "path": str(folder)}, tmp_path / "out")
    assert expected.space.classes == ("cat", "dog", "owl")
    places = [zipped(folder, tmp_path / "a.zip"), zipped(folder, tmp_path / "b.zip", "pets/")]
    for end, mode in ((".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz"), (".tar.bz2", "w:bz2")):
        places.append(tmp_path / f"a{end}")
        with tarfile.open(places[-1], mode) as archive:
            archive.add(folder, ".")
    for place in places:
        assert ingest({"name": "folder", "path": str(place)}, tmp_path / "out").sha256 == expected.sha256, place


def test_of_members_of_one_name_the_last_is_read_and_the_others_are_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped_twice, tarfile.open(tmp_path / "a.tar", "w") as tarred:
        for content in (b"first", png()):
            with pytest.warns(UserWarning, match="Duplicate name") if content != b"first" else nullcontext():
                zipped_twice.writestr("0.png", content)
            info = tarfile.TarInfo("0.png")
            info.size = len(content)
            tarred.addfile(info, io.BytesIO(content))
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        tree = open_tree(path)
        assert tree.read("0.png") == png()
        assert tree.left_out == {"members that a later one of the same name replaces": (1, f"{path}/0.png")}


def test_a_link_does_not_replace_a_file_of_its_name(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tarred:
        for kind, size in ((tarfile.REGTYPE, len(png())), (tarfile.SYMTYPE, 0)):
            info = tarfile.TarInfo("0.png")
            info.type, info.linkname, info.size = kind, "/etc/passwd", size
            tarred.addfile(info, io.BytesIO(png()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped_twice:
        zipped_twice.writestr("0.png", png())
        link = zipfile.ZipInfo("0.png")
        link.external_attr = 0o120777 << 16
        with pytest.warns(UserWarning, match="Duplicate name"):
            zipped_twice.writestr(link, "/etc/passwd")
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        tree = open_tree(path)
        assert tree.read("0.png") == png()
        assert tree.left_out == {"links in the archive": (1, f"{path}/0.png")}


def test_no_path_leads_out_and_no_link_is_followed(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for name, kind in (
            ("../../out.png", tarfile.REGTYPE),
            ("/etc/out.png", tarfile.REGTYPE),
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
            ("in.png", tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, "/etc/passwd", len(png()) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(png()))
    tree = open_tree(tmp_path / "evil.tar")
    assert tree.files == ("in.png",)
    assert {kind: count for kind, (count, _) in tree.left_out.items()} == {
        "members whose paths lead out of the archive": 2,
        "links in the archive": 2,
        "pipes, devices and sparse files": 1,
    }
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("..\\out.png", png())
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("in.png", png())
    assert open_tree(tmp_path / "evil.zip").files == ("in.png",)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["evil.tar", "evil.zip"]


def test_what_unpacks_to_far_more_than_it_is_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(2**22))
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as packed:
        packed.write(bytes(2**22))
    for name in ("bomb.zip", "bomb.tar.gz"):
        with pytest.raises(ValueError, match="unpacks to more than 200 times its size.*unpack it and give the folder"):
            open_tree(tmp_path / name)


def test_what_cannot_be_read_is_named(tmp_path, folder):
    whole = zipped(folder, tmp_path / "a.zip").read_bytes()
    encrypted = bytearray(whole)
    at = 0
    while (at := encrypted.find(b"PK\x01\x02", at)) >= 0:
        encrypted[at + 8] |= 1
        at += 4
    for name, content, words in (
        ("e.zip", bytes(encrypted), "is encrypted .*Unpack it with its password"),
        ("t.zip", whole[:200], "t.zip cannot be read as a zip archive: File is not a zip file"),
        ("l.zip", b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        ("w.tar.gz", b"<!DOCTYPE html><html>", "it is a web page in place of the file"),
        ("t.tar.gz", gzip.compress(bytes(10**5))[:60], "t.tar.gz cannot be read as a tar archive"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words):
            open_tree(tmp_path / name)


def test_a_damaged_member_is_a_broken_picture(tmp_path, folder):
    content = bytearray(zipped(folder, tmp_path / "a.zip").read_bytes())
    at = content.find(b"IHDR")
    with zipfile.ZipFile(tmp_path / "stored.zip", "w") as archive:
        for i in range(4):
            archive.writestr(f"{i}.png", png(i))
    content = bytearray((tmp_path / "stored.zip").read_bytes())
    at = content.find(b"IHDR")
    content[at + 8] ^= 1
    (tmp_path / "stored.zip").write_bytes(content)
    source = {"name": "folder", "path": str(tmp_path / "stored.zip")}
    with pytest.raises(ValueError, match=r"stored\.zip/0\.png cannot be read \(Bad CRC-32"):
        ingest(source, tmp_path / "out")
    assert ingest({**source, "skip_broken": True}, tmp_path / "out").count == 3


def test_threads_read_one_archive_at_once(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(200):
            info = tarfile.TarInfo(f"{i:03d}.png")
            info.size = len(png(i))
            archive.addfile(info, io.BytesIO(png(i)))
    source = load_source({"name": "folder", "path": str(tmp_path / "a.tar")})
    rows = source.survey(lambda done, total: None).rows()
    assert [row[0, 0, 0] for row in rows] == list(range(200))

"""What a file is that stands in the place of another."""

import io
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import SAFETENSORS, ZIP, check_file_kind, file_kind, kind_of_file


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"\n <!DOCTYPE HTML><html>", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b"<?xml version='1.0'?><Error>", "a page of XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"/annex/objects/SHA256", "a git-annex pointer"),
        (b"outs:\n- md5: 1", "a DVC pointer"),
        (json.dumps({"error": "gone"}).encode(), "text in JSON"),
        (b"\x1f\x8b\x08", "a gzip archive"),
    ],
)
def test_what_often_stands_in_the_place_of_data(head, kind):
    assert file_kind(head).startswith(kind)


def test_what_is_in_its_place_is_let_through(tmp_path):
    tensors, zipped, legacy = {"x": torch.zeros(3)}, io.BytesIO(), io.BytesIO()
    torch.save(tensors, zipped)
    torch.save(tensors, legacy, _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "x.safetensors")
    assert (file_kind(zipped.getvalue()), file_kind(legacy.getvalue())) == (ZIP, None)
    assert kind_of_file(tmp_path / "x.safetensors") == SAFETENSORS
    assert file_kind(np.arange(100).tobytes()) is None
    check_file_kind(tmp_path / "x.safetensors", "weights", SAFETENSORS)
    with pytest.raises(InvalidInput, match=r"x\.safetensors must hold weights, and it is a safetensors file$"):
        check_file_kind(tmp_path / "x.safetensors", "weights", ZIP)
    assert kind_of_file(tmp_path / "none") is None

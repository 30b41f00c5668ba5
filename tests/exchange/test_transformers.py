"""Files of DiT and SiT become bare networks that give what their authors' networks give, and nothing more."""

import json
import math
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import one_hot

from fewstep.exchange import import_openai, import_transformer

REFERENCE = Path(__file__).parents[1] / "reference" / "networks"
HEADS = 4


def drawn(name, shape):
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if r.ndim > 1:
        return r / math.sqrt(r[0].numel())
    return 1 + 0.1 * r if name.endswith("weight") else 0.05 * r


@pytest.fixture
def theirs():
    """The weights of a small SiT, and its tensors."""
    facts = json.loads((REFERENCE / "small_sit.json").read_text())
    tensors = load_file(REFERENCE / "small_sit.safetensors")
    weights = {name: drawn(name, shape) for name, shape in facts["parameters"].items()}
    return weights | {"pos_embed": tensors["buffer.pos_embed"]}, tensors


@pytest.mark.parametrize("save", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_file_in_either_format(theirs, save, tmp_path):
    weights, given = theirs
    save({name: weight.half() for name, weight in weights.items()}, tmp_path / "SiT")
    network = import_transformer(tmp_path / "SiT", HEADS)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    output = network(given["input.x"], given["input.t"], one_hot(given["input.y"], 6)[:, :5])
    assert (output - given["output"]).abs().max() < 1e-2 * given["output"].abs().max()  # half precision was read


def test_as_a_teacher_it_is_refused_in_words(theirs, tmp_path):
    torch.save(theirs[0], tmp_path / "DiT.pt")
    words = r"DiT.pt holds a transformer .*no preconditioner for either\. fewstep.exchange.import_transformer gives"
    with pytest.raises(ValueError, match=words):
        import_openai(tmp_path / "DiT.pt", "teacher", "imagenet256")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pos_embed": None}, "not the weights of DiT or SiT: pos_embed is missing"),
        ({"pos_embed": torch.zeros(1, 15, 32)}, "positions is \\[1, 15, 32\\], and would be \\[1, 9, 32\\]"),
        ({"blocks.1.attn.qkv.bias": None}, "blocks.1.attention.qkv.bias is missing, and would be \\[96\\]"),
        ({"blocks.7.attn.qkv.bias": torch.zeros(96)}, "blocks.2.attention.project.bias is missing"),
        ({"w": torch.zeros(1)}, "another network than DiT or SiT: w is \\[1\\], and would be missing"),
        ({"final_layer.linear.weight": torch.zeros(7, 32)}, "head.linear.bias is \\[32\\], and would be \\[16\\]"),
        ({"y_embedder.embedding_table.weight": torch.zeros(6, 9)}, "holds no transformer of DiT or SiT"),
        ({"x_embedder.proj.weight": torch.zeros(32, 4, 3, 3)}, "stem|positions|head"),
        ({"x_embedder.proj.weight": torch.zeros(0, 4, 2, 2)}, "x.pt"),
    ],
)
def test_other_files_are_refused(theirs, change, words, tmp_path):
    weights = {name: weight for name, weight in (theirs[0] | change).items() if weight is not None}
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=words):
        import_transformer(tmp_path / "x.pt", HEADS)


def test_a_damaged_file_is_an_error_in_words(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="x.pt"):
        import_transformer(tmp_path / "x.pt")
    save_file({"w": torch.zeros(9)}, tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match="x.safetensors is damaged"):
        import_transformer(tmp_path / "x.safetensors")

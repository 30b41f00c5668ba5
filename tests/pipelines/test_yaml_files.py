"""A wrong file of the configuration is named with its line, in one sentence."""

import pytest

from fewstep.pipelines.yaml_files import check_file, lines_of, load_file
from fewstep.support.errors import InvalidInput

WRONG = {
    "a tab": (b"a:\n\tb: 1\n", "line 2: a tab: indent with spaces."),
    "an open bracket": (b"a: 1\nb: [1, 2\nc: 3\n", "line 2: the bracket '[' is not closed, or a comma is missing"),
    "an open bracket at the end": (b"a: 1\nb: [\n", "line 2: the file ends while a bracket is open."),
    "an open brace": (b"a: {x: 1\n", "line 1: the bracket '{' is not closed"),
    "an open quote": (b"a: 'x\n", "line 1: the quotation mark is not closed."),
    "a name given twice": (b"a:\n  b: 1\n  c: 2\n  b: 3\n", "line 4: 'b' is given twice, first in line 2."),
    "not UTF-8": (b"a: 1\nb: caf\xe9\n", "line 2: the file must be text in UTF-8."),
    "an odd indent": (b"a:\n  b: 1\n c: 2\n", "line 3: the line is indented otherwise than those beside it"),
    "two colons": (b"a: b: c\n", "line 1: a second ': ' on one line: put text that has one in quotes."),
    "a sign": (b"a: @x\n", "line 1: text that begins with '@' must be in quotes."),
    "no anchor": (b"a: *b\n", "line 1: an alias (*name) stands for an anchor (&name) that is not in the file."),
    "a list": (b"- 1\n", "line 1: the file must hold names with values, as in recipe: ect."),
    "an anchor in itself": (b"a: &x [*x]\n", "line 1: an alias (*name) stands inside its own anchor (&name)."),
    "aliases without bound": (
        ("a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 5))).encode(),
        "values; at most 5,000 are allowed.",
    ),
    "values without bound": (b"a: [" + b"1," * 100_000 + b"]\n", "it has 100,003 values; at most 100,000 are allowed."),
    "a name that is octal": (b"a: 1\ndataset: 010\n", "line 2: dataset must be a name, and YAML reads 010 as another"),
    "an unknown tag": (b"a: 1\nb: !foo bar\n", "line 2: could not determine a constructor for the tag '!foo'."),
    "merging a number": (b"a: 1\n<<: 5\n", "line 2: expected a mapping or list of mappings for merging"),
    "a list as a name": (b"a: 1\n? [a]\n: 2\n", "line 2: a name must be a word or a number, and no list or section."),
    "no whole number": (b"a: 1\nb: !!int x\n", "line 2: no int."),
    "an open reference": (b"a: 1\nb: {c: '${x'}\n", "line 2: '${' is not closed, or holds no name"),
    "a control character": (b"a: \x07\n", "line 1: a character that cannot be shown (0x07)."),
}


@pytest.mark.parametrize("text, message", WRONG.values(), ids=WRONG)
def test_it_is_one_sentence_with_its_line(text, message, tmp_path):
    (file := tmp_path / "parameters.yml").write_bytes(text)
    with pytest.raises(InvalidInput) as caught:
        check_file(file)
    assert str(caught.value).startswith(str(file)) and message in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"a: &x {b: 1}\nc: {<<: *x, b: 2}\n", b'{"a": 1}'])
def test_a_valid_file_passes(text, tmp_path):
    (file := tmp_path / "parameters.yml").write_bytes(text)
    check_file(file)


def test_a_value_has_its_line(tmp_path):
    (file := tmp_path / "parameters.yml").write_text(
        "a: &x {d: 1}\nb:\n  c:\n    <<: *x\n    e: 2\n  d: {<<: *x, d: 3}\n"
    )
    lines = lines_of(file)
    assert lines["b", "c", "e"] == 5 and lines["b", "c", "d"] == 1 and lines["b", "d", "d"] == 6
    assert ("b", "x") not in lines and ("a", "d", "e") not in lines
    file.write_text("")
    assert lines_of(file) == {}


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 60 + "}" * 60])
def test_a_file_that_is_nested_too_deeply_is_refused_before_it_is_read(text, tmp_path):
    """Reading it would end the process."""
    (file := tmp_path / "x.yml").write_text(text)
    with pytest.raises(InvalidInput, match="line 1: at most 50 levels of nesting are allowed"):
        check_file(file)


@pytest.mark.parametrize("text", ["null: 2\n", "network: !!set {a}\n"])
def test_what_only_omegaconf_refuses_is_one_line_with_the_file(text, tmp_path):
    (file := tmp_path / "parameters.yml").write_text(text)
    check_file(file)
    with pytest.raises(InvalidInput) as caught:
        load_file(file)
    assert str(caught.value).startswith(f"{file}") and "\n" not in str(caught.value)


def test_a_day_that_is_none_is_text_as_omegaconf_has_it(tmp_path):
    (file := tmp_path / "parameters.yml").write_text("a: 2020-13-45\n")
    assert load_file(file) == {"a": "2020-13-45"}

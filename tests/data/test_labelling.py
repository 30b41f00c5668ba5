"""Labels of sources, and the classes that they come to."""

import pytest

from fewstep.data.labelling import Naming, natural_order, number_labels


def test_digits_sort_as_numbers_and_words_as_they_are():
    assert natural_order(["10", "2", "1", "0"]) == ["0", "1", "2", "10"]
    assert natural_order(["b", "ab", "B", "a"]) == sorted(["b", "ab", "B", "a"])
    assert natural_order(["v10", "v9", "v", "v1b", "v1a", "01", "1"]) == ["01", "1", "v", "v1a", "v1b", "v9", "v10"]
    assert natural_order(["1" * 5000, "2", "01" + "0" * 5000]) == ["2", "1" * 5000, "01" + "0" * 5000]


@pytest.mark.parametrize(
    ("values", "classes", "labels", "names"),
    [
        ([0, 2, 1], (), [0, 2, 1], ("0", "1", "2")),
        ([0, 1], ("a", "b", "c"), [0, 1], ("a", "b", "c")),
        (["b", "a", "b"], (), [1, 0, 1], ("a", "b")),
        (["10", "9"], (), [1, 0], ("9", "10")),
        (["b", "a"], ("b", "a"), [0, 1], ("b", "a")),
        ([None, None], ("a",), [-1, -1], ()),
        ([-1, -1], (), [-1, -1], ()),
        ([True, False], (), [1, 0], ("false", "true")),
    ],
)
def test_numbers_and_words(values, classes, labels, names):
    found, known = number_labels(values, classes, "x")
    assert (found.tolist(), known) == (labels, names)


@pytest.mark.parametrize(
    ("values", "classes", "words"),
    [
        ([0, "a"], (), "must be all numbers or all words"),
        (["a", "c"], ("a", "b"), "the label 'c' is none of the classes: a, b"),
        ([0, 2], ("a", "b"), r"0 and 1 \(the classes are a, b\)"),
        (["a", ""], (), "1 of 2 rows have no label"),
        ([0, None], (), "1 of 2 rows have no label"),
        ([0, 10**9], (), "labels must be between 0 and 1,019, got 0 to 1,000,000,000"),
        (["caf\udce9"], (), "is not UTF-8"),
        ([0, 10**30], (), "labels must be the numbers of classes, from 0 on, got 10{30}"),
        ([0, 1], ("cat", "cat"), "two classes have the name 'cat'"),
        (["cat"], ("cat", "cat"), "two classes have the name 'cat'"),
    ],
)
def test_what_cannot_be_labels(values, classes, words):
    with pytest.raises(ValueError, match=f"x: .*{words}"):
        number_labels(values, classes, "x")


def test_a_column_is_chosen_asked_about_or_left_out():
    assert Naming().choose_column(["file_name", "label", "class"], "x") == "label"
    assert Naming().choose_column(["File", "Label", "Class"], "x") == "Label"
    assert Naming().choose_column(["file_name", "kind"], "x") is None
    assert Naming("kind").choose_column(["file_name", "kind", "label"], "x") == "kind"
    assert Naming().choose_column(["file_name", "category_id"], "x") == "category_id"
    assert Naming().choose_column(["labels", "fine_label"], "x") == "labels"
    with pytest.raises(ValueError, match="Set label_column: fine_label or coarse_label"):
        Naming().choose_column(["fine_label", "coarse_label", "labelled_by"], "x")
    assert Naming("none").choose_column(["label"], "x") is None
    with pytest.raises(ValueError, match="Set label_column: class or category"):
        Naming().choose_column(["category", "class"], "x")

"""Classes by their names and numbers."""

import pytest

from fewstep.data.class_names import class_counts, class_list, class_number
from fewstep.support.errors import InvalidInput

DIGITS, MANY = tuple("0123456789"), tuple(f"c{number}" for number in range(1000))
PETS = ("cat", "dog", "tabby, tabby cat", "crane", "crane")


@pytest.mark.parametrize(
    ("given", "classes", "number"),
    [
        (7, DIGITS, 7),
        ("7", DIGITS, 7),
        ("#7", DIGITS, 7),
        ("cat", PETS, 0),
        ("1", PETS, 1),
        ("3", ("1", "2", "3"), 2),
        (2, ("1", "2", "3"), 2),
        ("#1", ("1", "2", "3"), 1),
        ("c999", MANY, 999),
    ],
)
def test_a_class_by_its_name_or_number(given, classes, number):
    assert class_number(given, classes) == number


@pytest.mark.parametrize(
    ("given", "classes", "words"),
    [
        (
            "Cta",
            PETS,
            "must be the name or the number of a class, got 'Cta'. Did you mean 0 cat? Classes: 0 cat, 1",
        ),
        ("TABBY", PETS, "Did you mean 2 tabby, tabby cat?"),
        ("crane", PETS, "label 'crane' can mean 2 classes: write #3 for 'crane' or #4 for 'crane'."),
        ("2", ("1", "2", "3"), "label '2' can mean 2 classes: write #1 for '2' or #2 for '3'."),
        (10, DIGITS, "got 10. Classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9."),
        (-1, DIGITS, "got -1. Classes"),
        ("-1", PETS, "got '-1'. Classes"),
        (True, DIGITS, "got True. Classes"),
        (1.5, DIGITS, "got 1.5. Classes"),
        ("9" * 5000, DIGITS, "label must be the name or the number of a class"),
        ("zebra", MANY, "18 c18, 19 c19 and 980 more."),
    ],
)
def test_what_is_no_class_is_answered_with_those_that_are(given, classes, words):
    with pytest.raises(InvalidInput) as caught:
        class_number(given, classes)
    assert words in str(caught.value)


def test_few_classes_are_all_told_and_of_many_the_ends_and_the_smallest():
    assert class_counts(("cat", "1"), (1200, 3)) == "0 cat (1,200), 1 (3)"
    words = class_counts(MANY, [5] * 500 + [2] + [5] * 499)
    assert words.startswith("0 c0 (5), 1 c1 (5), 2 c2 (5) ... 997 c997 (5), 998 c998 (5), 999 c999 (5); the smallest: ")
    assert words.partition("; the smallest: ")[2].startswith("500 c500 (2), 0 c0 (5)")
    assert class_list(MANY, [3, 5]) == "3 c3, 5 c5"

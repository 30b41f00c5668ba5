"""The description of every parameter: complete, true to the checks, and true to the files of conf/ as a schema."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from fewstep.config.json_schema import json_schema
from fewstep.config.parameter_descriptions import COMMENTS, chapters

CONF = Path(__file__).parents[2] / "conf"
SETTINGS = {(chapter.title, setting.name): setting for chapter in chapters() for setting in chapter.settings}


def test_every_parameter_has_a_comment():
    assert [place for place, setting in SETTINGS.items() if len(setting.comment) < 3] == []


def test_every_comment_has_a_parameter():
    known = {(chapter.place, setting.name) for chapter in chapters() for setting in chapter.settings}
    chosen = {(place, "name") for place in ("network", "student.objective")} | {("student", "network")}
    assert {(place, name) for place, names in COMMENTS.items() for name in names} - known == chosen


@pytest.mark.parametrize(
    "title, name, kind, allowed",
    [
        ("student.training", "batch_size", "whole number", "above 0 and at most 1,048,576"),
        ("student.training", "optimizer", "text", "adam, adamw, radam"),
        ("student.training", "betas", "list of numbers", "at least 0 and below 1 each"),
        ("Method consistency_training", "start_levels", "whole number", "between 2 and end_levels"),
        ("Network unet", "dropout", "number", "at least 0 and below 1"),
        ("Task stroke", "last", "number", "above 0.002"),
        ("Source moons", "count", "whole number", "at least 4 and at most 1,000,000,000"),
        ("Recipe", "seed", "whole number", "at least 0 and below 4,294,967,296"),
        ("evaluation", "student_nfe", "list of whole numbers", "at least 1 and at most 10,000"),
        ("launch", "gpu", "true or false or text", "true, false or 'auto'"),
    ],
)
def test_a_range_is_what_the_checks_say(title, name, kind, allowed):
    assert (SETTINGS[title, name].kind, SETTINGS[title, name].allowed) == (kind, allowed)


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(json_schema())


@pytest.mark.parametrize(
    "file", sorted(CONF.glob("*/parameters/**/*.yml")), ids=lambda file: file.relative_to(CONF).as_posix()
)
def test_the_schema_takes_the_files_of_conf(file, validator):
    assert [error.message for error in validator.iter_errors(yaml.safe_load(file.read_text()))] == []


@pytest.mark.parametrize(
    "text",
    [
        "launch: {worker: 1}",
        "student: {training: {batch_size: 0}}",
        "recipes: {mine: {training: {optimizer: sgd}}}",
        "teacher: {objective: {nmae: denoising}}",
        "network: {channels: wide}",
        "promotion: {rules: {confidence: 1}}",
        "editing: {tasks: {inpiant: {}}}",
    ],
)
def test_the_schema_refuses(text, validator):
    assert not validator.is_valid(yaml.safe_load(text))


def test_null_takes_any_parameter_away(validator):
    assert validator.is_valid(
        yaml.safe_load("student: {levels: null, training: {clip: null}, objective: {solver: null}}")
    )

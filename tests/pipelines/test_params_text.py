"""What --params may hold: every parameter can be given, lists and odd paths among them."""

import pytest

from fewstep.pipelines.params_text import read_params, write_params
from fewstep.support.errors import InvalidInput

READ = {
    "recipe=ect": {"recipe": "ect"},
    "recipe=ect,fresh=true": {"recipe": "ect", "fresh": True},
    " recipe = ect , dataset=x, ": {"recipe": "ect", "dataset": "x"},
    "network.channel_mult=[1,2]": {"network": {"channel_mult": [1, 2]}},
    "network.channel_mult=[1, 2],network.channels=8": {"network": {"channel_mult": [1, 2], "channels": 8}},
    "comparison.budget={unit: steps, amount: 3},recipe=cd": {
        "comparison": {"budget": {"unit": "steps", "amount": 3}},
        "recipe": "cd",
    },
    "evaluation.teacher_nfe={heun: [3, 5], euler: null}": {
        "evaluation": {"teacher_nfe": {"heun": [3, 5], "euler": None}}
    },
    "student.levels={2: [0.4]}": {"student": {"levels": {2: [0.4]}}},
    "data.source.path=/a,b/c": {"data": {"source": {"path": "/a,b/c"}}},
    "data.source.path=/a=b/c,d": {"data": {"source": {"path": "/a=b/c,d"}}},
    "data.source.path='/a,b=c/d',dataset=x": {"data": {"source": {"path": "/a,b=c/d"}}, "dataset": "x"},
    'data.source.path="/a [1], b=c",dataset=x': {"data": {"source": {"path": "/a [1], b=c"}}, "dataset": "x"},
    "data.source.path=/it's/here,dataset=x": {"data": {"source": {"path": "/it's/here"}}, "dataset": "x"},
    "data.source.path=/with space/x": {"data": {"source": {"path": "/with space/x"}}},
    "data.source.path=C:/x": {"data": {"source": {"path": "C:/x"}}},
    "data.source.background=#ff0000": {"data": {"source": {"background": "#ff0000"}}},
    "data.source.path=/a #1,b,dataset=007": {"data": {"source": {"path": "/a #1,b"}}, "dataset": "007"},
    "dataset=1e3,recipe=no,trial=null": {"dataset": "1e3", "recipe": "no", "trial": None},
    "student.training.learning_rate=5e-4": {"student": {"training": {"learning_rate": 5e-4}}},
    "": {},
}


@pytest.mark.parametrize("text, params", READ.items(), ids=READ)
def test_a_text_is_read_as_parameters(text, params):
    assert read_params(text) == params


@pytest.mark.parametrize("text", [text for text in READ if "levels" not in text])
def test_what_is_written_is_read_as_the_same(text):
    assert read_params(write_params(read_params(text))) == read_params(text)


WRONG = {
    "recipe": "--params must be name=value, or several with commas between them, got 'recipe'.",
    "=3": "--params must be name=value, or several with commas between them, got '=3'.",
    "recipe=ect,teacher.training.imagess=": "teacher.training.imagess has no value. Give it one, or write teacher.",
    "network.channel_mult=[1,2": "the value of network.channel_mult cannot be read, got '[1,2'. Close its brackets",
    "data.source.path=@x": "the value of data.source.path cannot be read, got '@x'.",
    "data.source.path='x": 'the value of data.source.path cannot be read, got "\'x".',
}


@pytest.mark.parametrize("text, message", WRONG.items(), ids=WRONG)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(InvalidInput) as caught:
        read_params(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["recipe=${x", "x=!foo bar", "x=!!bool y", "x=!!timestamp y"])
def test_a_value_that_yaml_or_omegaconf_refuses_is_said(text):
    with pytest.raises(InvalidInput, match="--params: the value of .* cannot be read"):
        read_params(text)


def test_a_place_beyond_a_list_is_said():
    with pytest.raises(InvalidInput, match=r"network.channel_mult.5 has no place .* Give a list or a section"):
        read_params("network.channel_mult=[1,2],network.channel_mult.5=3")

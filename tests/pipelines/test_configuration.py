from onestep.pipelines.configuration import merged


def test_above_wins_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}


def test_null_takes_away_what_is_below():
    assert merged({"a": {"b": 1, "c": {"d": 2}}}, {"a": {"c": None}}) == {"a": {"b": 1}}


def test_a_section_of_another_name_replaces_the_whole_one():
    assert merged({"n": {"name": "unet", "channels": 3}}, {"n": {"name": "mlp"}}) == {"n": {"name": "mlp"}}
    assert merged({"n": {"name": "mlp", "channels": 3}}, {"n": {"name": "mlp", "depth": 1}}) == {
        "n": {"name": "mlp", "channels": 3, "depth": 1}
    }

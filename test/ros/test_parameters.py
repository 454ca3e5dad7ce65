from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from kalm_core.errors import ConfigError
from kalm_core.settings import Settings
from kalm_ros.parameters import declare_settings


class Inner(Settings):
    speed: float = Field(0.5, gt=0, le=1, description="speed scale")
    count: int = Field(3, ge=1, le=8, description="how many")
    kind: Literal["plain", "fancy"] = Field("plain", description="which")


class Outer(Settings):
    inner: Inner = Inner()
    folder: Path = Field(Path("skills"), description="where skills lie")
    weights: Path | None = Field(None, description="weights; empty means none")
    point: tuple[float, float, float] = Field((0.0, 0.1, 0.2), description="a point [m]")
    names: tuple[str, ...] = Field((), description="names")
    weights_of: dict[str, float] = Field({"a": 0.5, "b": 0.5}, description="a table")
    on: bool = Field(True, description="a switch")


def test_defaults_serve_when_nothing_is_given(graph):
    node = graph.make("n")
    assert declare_settings(node, Outer) == Outer()
    assert node.get_parameter("inner.speed").value == 0.5
    assert node.get_parameter("weights").value == ""


def test_values_that_are_given_arrive_in_the_settings(graph):
    node = graph.make(
        "n",
        inner__speed=1,  # an integer for a float, as people write it
        inner__kind="fancy",
        folder="/tmp/x",
        weights="",
        point=[1.0, 2.0, 3.0],
        names=["a", "b"],
        on=False,
    )
    settings = declare_settings(node, Outer)
    assert settings.inner == Inner(speed=1.0, kind="fancy")
    assert settings.folder == Path("/tmp/x")
    assert settings.weights is None
    assert settings.point == (1.0, 2.0, 3.0)
    assert settings.names == ("a", "b")
    assert settings.on is False
    assert node.get_parameter("names").value == ["a", "b"]


def test_a_table_is_replaced_as_a_whole(graph):
    node = graph.make("n")
    declare_settings(node, Outer)
    assert node.get_parameter("weights_of.a").value == 0.5
    node = graph.make("m", weights_of__c=1)
    assert declare_settings(node, Outer).weights_of == {"c": 1.0}
    assert not node.has_parameter("weights_of.a")


def test_a_calibration_that_is_told_to_all_nodes_is_no_error_for_those_without_one(graph):
    assert (
        declare_settings(graph.make("n", hand_eye__translation=[1.0, 2.0, 3.0]), Outer) == Outer()
    )
    with pytest.raises(ConfigError, match="hand_eyes"):
        declare_settings(graph.make("m", hand_eyes__translation=[1.0, 2.0, 3.0]), Outer)


def test_what_the_node_sets_itself_is_no_parameter(graph):
    node = graph.make("n")
    assert declare_settings(node, Outer, without=("inner",)).inner == Inner()
    assert not node.has_parameter("inner.speed")
    with pytest.raises(ConfigError, match="no parameter"):
        declare_settings(graph.make("m", inner__speed=1.0), Outer, without=("inner",))


def test_descriptions_and_ranges_become_descriptors(graph):
    node = graph.make("n")
    declare_settings(node, Outer)
    speed = node.describe_parameter("inner.speed")
    assert speed.description == "speed scale"
    assert speed.read_only
    assert (speed.floating_point_range[0].from_value, speed.floating_point_range[0].to_value) == (
        0,
        1,
    )
    count = node.describe_parameter("inner.count").integer_range[0]
    assert (count.from_value, count.to_value) == (1, 8)
    assert "plain, fancy" in node.describe_parameter("inner.kind").additional_constraints


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"inner__speed": 1.5}, "inner.speed"),
        ({"inner__count": 0}, "inner.count"),
        ({"inner__kind": "odd"}, "inner.kind"),
        ({"spede": 1.0}, "spede"),
        ({"inner__spede": 1.0}, "spede"),
        ({"point": [1.0]}, "point"),
        ({"on": "maybe"}, "on"),
        ({"inner": 3}, "inner"),
        ({"folder__deep": "x"}, "folder"),
    ],
)
def test_a_wrong_parameter_is_a_config_error_that_names_it(graph, given, text):
    with pytest.raises(ConfigError, match=text):
        declare_settings(graph.make("n", **given), Outer)


def test_parameters_cannot_be_changed_later(graph):
    import rclpy

    node = graph.make("n")
    declare_settings(node, Outer)
    assert not node.set_parameters([rclpy.Parameter("on", value=False)])[0].successful

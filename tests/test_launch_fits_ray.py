"""launch._leave_out_dashboard takes the place of a private method of Ray: whether this Ray still has it.

Ray is read and not imported: launch sets its environment before that, and puts a method of its own in that place.
"""

import ast
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

PRIVATE = Path(find_spec("ray").origin).parent / "_private"
MEND = f"Ray {version('ray')} is not what launch._leave_out_dashboard was written for, fit it: "


@pytest.fixture(scope="module")
def methods() -> dict[str, ast.FunctionDef]:
    """Those of Ray's Node."""
    body = ast.parse((PRIVATE / "node.py").read_text()).body
    node = next((item for item in body if isinstance(item, ast.ClassDef) and item.name == "Node"), None)
    assert node, f"{MEND}there is no ray._private.node.Node"
    return {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}


@pytest.mark.parametrize("name", ["start_api_server", "get_gcs_client"])
def test_ray_has_the_method(name, methods):
    assert name in methods, f"{MEND}there is no ray._private.node.Node.{name}"


@pytest.mark.parametrize("name", ["DASHBOARD_ADDRESS", "KV_NAMESPACE_DASHBOARD"])
def test_ray_has_the_constant(name):
    body = ast.parse((PRIVATE / "ray_constants.py").read_text()).body
    named = {target.id for item in body if isinstance(item, ast.Assign) for target in item.targets}
    assert name in named, f"{MEND}there is no ray._private.ray_constants.{name}"


def test_ray_calls_the_method_by_keywords(methods):
    arguments = methods["start_api_server"].args
    assert [a.arg for a in arguments.args] == ["self"] and not arguments.vararg, f"{MEND}start_api_server takes others"
    calls = [item for method in methods.values() for item in ast.walk(method) if isinstance(item, ast.Attribute)]
    assert any(call.attr == "start_api_server" and ast.unparse(call.value) == "self" for call in calls), (
        f"{MEND}start_api_server is not called"
    )


@pytest.mark.slow
def test_ray_runs_without_its_dashboard(ray_here):
    from ray._private import ray_constants, worker

    place = ray_constants.DASHBOARD_ADDRESS.encode(), ray_constants.KV_NAMESPACE_DASHBOARD
    assert worker.global_worker.gcs_client.internal_kv_get(*place) == b"127.0.0.1:1", f"{MEND}no stand-in address"
    started = worker._global_node.all_processes
    assert "raylet" in started and ray_constants.PROCESS_TYPE_DASHBOARD not in started, f"{MEND}the dashboard runs"

"""The rules of `docs/design.md` about who may import whom, and the tables that must agree."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kalm_core.errors import Outcome
from kalm_ros.node_table import NODES

ROOT = Path(__file__).resolve().parent.parent
ROS_PACKAGES = {
    "action_msgs",
    "ament_index_python",
    "builtin_interfaces",
    "cv_bridge",
    "diagnostic_msgs",
    "geometry_msgs",
    "kalm_interfaces",
    "kalm_ros",
    "launch",
    "launch_ros",
    "message_filters",
    "rcl_interfaces",
    "rclpy",
    "rosbag2_py",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "tf2_ros",
    "trajectory_msgs",
    "visualization_msgs",
}
UNSAFE = {
    *("eval", "exec", "pickle.load", "pickle.loads", "torch.load", "torch.jit.load", "yaml.load"),
}
PROGRAMS = ("kalm_core/features/upsampling_learned.py", "torch.jit.load")
"""The one place where a program is read: its file is named by the machine's own settings."""


def sources(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


def imported_packages(tree: ast.AST) -> set[str]:
    """Top-level names of all imports, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def module_names(package: str) -> list[str]:
    names = []
    for file in sources(package):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("package", ["kalm_core", "kalm_sim"])
def test_no_source_file_imports_ros(package: str) -> None:
    for file in sources(package):
        found = imported_packages(ast.parse(file.read_text(encoding="utf-8"))) & ROS_PACKAGES
        assert not found, f"{file.relative_to(ROOT)} imports {found}"


def test_the_core_does_not_import_the_simulator() -> None:
    for file in sources("kalm_core"):
        assert "kalm_sim" not in imported_packages(ast.parse(file.read_text(encoding="utf-8")))


def test_every_core_module_imports_where_ros_does_not_exist() -> None:
    script = f"""
import importlib, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ROS_PACKAGES!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
for name in {module_names("kalm_core")!r}:
    importlib.import_module(name)
assert "rclpy" not in sys.modules
print("imported")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "imported"


def test_outcome_numbers_are_those_of_the_interface() -> None:
    text = (ROOT / "kalm_interfaces" / "msg" / "Outcome.msg").read_text(encoding="utf-8")
    constants = {
        name: int(value) for name, value in re.findall(r"^uint16 ([A-Z_]+)=(\d+)", text, re.M)
    }
    assert constants == {outcome.name: outcome.value for outcome in Outcome}


def test_the_built_interface_has_the_same_outcomes() -> None:
    from kalm_interfaces.msg import Outcome as Message

    assert all(getattr(Message, outcome.name) == outcome.value for outcome in Outcome)


def test_every_node_of_the_table_has_a_module_with_a_main() -> None:
    for entry in NODES:
        spec = importlib.util.find_spec(entry.module)
        assert spec is not None and spec.origin is not None, entry.module
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert "main" in functions, entry.module


def test_every_node_module_is_in_the_table() -> None:
    modules = {file.stem for file in sources("kalm_ros") if file.stem.endswith("_node")}
    assert modules - {"run_node"} == {entry.executable for entry in NODES}


def subscribed_topics(tree: ast.AST) -> list[str]:
    """The source text of the topic argument of every subscription."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "create_subscription"
        ):
            keywords = {word.arg: word.value for word in node.keywords}
            topic = keywords.get("topic", node.args[1] if len(node.args) > 1 else None)
            assert topic is not None
            found.append(ast.unparse(topic))
    return found


def test_no_node_subscribes_to_the_simulators_truth() -> None:
    for entry in NODES:
        source = (ROOT / "kalm_ros" / f"{entry.executable}.py").read_text(encoding="utf-8")
        assert not [t for t in subscribed_topics(ast.parse(source)) if "truth" in t], entry.name
        if entry.name != "sim_node":
            assert "kalm_sim" not in source, f"{entry.name} knows of the simulator"


def test_nothing_loads_code_from_data() -> None:
    for package in ("kalm_core", "kalm_sim", "kalm_ros"):
        for file in sources(package):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            tensors_alone = {
                node.func
                for node in ast.walk(tree)
                if isinstance(node, ast.Call)
                and "weights_only=True" in [ast.unparse(word) for word in node.keywords]
            }
            for node in ast.walk(tree):  # whoever names one may call it by another name
                if not isinstance(node, (ast.Attribute, ast.Name)) or node in tensors_alone:
                    continue
                name, where = ast.unparse(node), file.relative_to(ROOT).as_posix()
                allowed = (where, name) == PROGRAMS
                assert name not in UNSAFE or allowed, f"{where}:{node.lineno}: {name}"

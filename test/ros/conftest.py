"""Every test gets a private ROS graph: an own domain on this machine, an own context."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from kalm_ros.private_graph import free_domain, release_domain

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(free_domain())

rclpy = pytest.importorskip("rclpy", reason="run `. tools/env.sh` first")
pytest.importorskip("kalm_interfaces", reason="run `make setup` and `. tools/env.sh` first")

from rclpy.action import ActionClient  # noqa: E402
from rclpy.executors import MultiThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402


class Graph:
    """Nodes of one test, served by one executor in a thread.

    Each has its own domain: what an earlier test left on the graph must not answer for a later one.
    """

    def __init__(self, domain: int | None = None) -> None:
        self._own_domain = domain is None
        self.domain = free_domain() if domain is None else domain
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = MultiThreadedExecutor(num_threads=8, context=self.context)
        self.nodes: list[Node] = []
        self.clients: list[ActionClient] = []
        self._thread = threading.Thread(target=self.executor.spin, daemon=True)
        self._thread.start()

    def another(self) -> Graph:
        """Other nodes on the same domain, as if of another process; to be closed by who asks."""
        return Graph(self.domain)

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def make(self, name: str, **parameters: object) -> Node:
        """A bare node with parameters as if a file had given them."""
        overrides = [
            rclpy.Parameter(key.replace("__", "."), value=v) for key, v in parameters.items()
        ]
        return self.add(
            Node(
                name,
                context=self.context,
                parameter_overrides=overrides,
                automatically_declare_parameters_from_overrides=True,
            )
        )

    def action_client(self, kind: type, name: str) -> ActionClient:
        """A client of an action, on a node of its own.

        rclpy shows the executor a client before it is complete, which ends an executor that spins;
        so the client is made first and its node is added afterwards.
        """
        node = Node("client", context=self.context)
        client = ActionClient(node, kind, name)
        self.clients.append(client)
        self.add(node)
        return client

    def close(self) -> None:
        self.executor.shutdown(timeout_sec=5.0)
        self._thread.join(timeout=5.0)
        for client in self.clients:
            client.destroy()
        for node in self.nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)
        if self._own_domain:
            release_domain(self.domain)


@pytest.fixture
def graph() -> Iterator[Graph]:
    made = Graph()
    yield made
    made.close()

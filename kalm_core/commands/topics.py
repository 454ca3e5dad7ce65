"""`kalm topics`: what to record."""

from __future__ import annotations

from kalm_core.bags.topics import RECORDED_TOPICS, record_command
from kalm_core.commands.terminal import output


def topics() -> None:
    """Name the topics of a demonstration and the `ros2 bag record` line that records them."""
    for topic in RECORDED_TOPICS:
        output.print(f"{topic.name}  [dim]{topic.type}[/dim]\n    {topic.why}", soft_wrap=True)
    output.print("\nThe recorder of the suite writes these; this records an equivalent bag:\n")
    output.print(record_command(), soft_wrap=True)

"""`kalm learn`: demonstrations in, a skill out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kalm_core.bags.folder import expand_bags
from kalm_core.bags.writer import UNFINISHED
from kalm_core.commands.parameter_file import suite_parameters
from kalm_core.commands.terminal import output, progress_bars
from kalm_core.errors import ConfigError
from kalm_core.hand_eye import HandEyeSettings
from kalm_core.settings import parse_settings


def learn(
    name: Annotated[str, typer.Argument(help="name of the skill: letters, digits, _ and -")],
    bags: Annotated[
        list[Path], typer.Argument(help="the demonstrations: bags, or folders full of bags")
    ],
    *,
    task: Annotated[str, typer.Option(help="one sentence, as one would tell a person")],
    skills: Annotated[Path, typer.Option(help="folder of the skills")] = Path("skills"),
    config: Annotated[
        list[Path], typer.Option(help="read after those in config/; may be given again")
    ] = [],  # noqa: B006 - typer copies it
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace a skill of that name")
    ] = False,
    training_folder: Annotated[
        Path | None,
        typer.Option(
            help="for the diffusion model's trainings: one that was cut goes on from there, and "
            "TensorBoard shows their logs"
        ),
    ] = None,
) -> None:
    """Learn a skill from recorded demonstrations. Ctrl-C stops cleanly."""
    from kalm_core.learning import LearningSettings, learn_skill

    values = suite_parameters(("hand_eye.yaml", "learner_node.yaml"), config, "learner_node")
    unknown = set(values) - {"learning", "hand_eye", "skills"}
    if unknown:
        raise ConfigError(
            f"learner_node has no parameters named {', '.join(sorted(unknown))}",
            "known are learning, hand_eye and skills",
        )
    settings = parse_settings(LearningSettings, values.get("learning", {}), "learning")
    hand_eye = parse_settings(HandEyeSettings, values.get("hand_eye", {}), "hand_eye")
    chosen = expand_bags(_finished(bags))
    with progress_bars() as progress:
        bundle = learn_skill(
            name,
            task,
            chosen,
            skills,
            settings,
            hand_eye,
            overwrite=overwrite,
            training_folder=training_folder,
            progress=progress,
        )
    output.print(f"The skill {name} is in {bundle}", markup=False, soft_wrap=True)


def _finished(paths: list[Path]) -> list[Path]:
    """Return the paths without unfinished recordings, which `demonstrations/*` names too."""
    finished = [path for path in paths if not path.name.endswith(UNFINISHED)]
    for path in paths:
        if path not in finished:
            output.print(
                f"{path} is skipped: it was not finished; "
                f"kalm demonstrations {path.parent} --rescue saves what it can",
                markup=False,
                soft_wrap=True,
            )
    return finished

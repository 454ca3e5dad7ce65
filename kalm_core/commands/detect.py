"""`kalm detect`: find a skill's keypoints in the first image of a bag, and draw them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kalm_core.bags import read_demonstration
from kalm_core.commands.parameter_file import suite_parameters
from kalm_core.commands.terminal import output
from kalm_core.errors import GoalError
from kalm_core.hand_eye import HandEyeSettings, demand_learned_for_a_camera
from kalm_core.settings import parse_settings


def detect(
    skill: Annotated[Path, typer.Argument(help="folder of one skill")],
    bag: Annotated[Path, typer.Argument(help="a demonstration")],
    picture: Annotated[Path, typer.Option(help="PNG to write")] = Path("keypoints.png"),
    config: Annotated[
        list[Path], typer.Option(help="read after those in config/; may be given again")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Find a skill's keypoints in the first image of a bag and draw them into a picture."""
    import imageio.v3 as iio

    from kalm_core.correspondence import CorrespondenceSettings, KeypointDetector, require_found
    from kalm_core.distillation_settings import detection_as_learned
    from kalm_core.report import draw_keypoints
    from kalm_core.skill import load_skill
    from kalm_core.vlm.guidance import GuidanceSettings, guide

    if picture.suffix.lower() != ".png" or not picture.parent.is_dir():
        raise GoalError(f"{picture} cannot be written", "give a name that ends in .png")
    values = suite_parameters(("hand_eye.yaml", "keypoint_node.yaml"), config, "keypoint_node")
    hand_eye = parse_settings(HandEyeSettings, values.get("hand_eye", {}), "hand_eye")
    learned = load_skill(skill)
    demand_learned_for_a_camera(learned.record.get("hand_eye"), hand_eye, learned.name)
    settings = parse_settings(
        CorrespondenceSettings, values.get("correspondence", {}), "correspondence"
    )
    if values.get("as_learned", True):
        settings = detection_as_learned(learned.perception, learned.name, settings)
    frame = read_demonstration(bag, hand_eye.T_ee_cam).initial
    guidance = parse_settings(GuidanceSettings, values.get("guidance", {}), "guidance")
    weights = guide(learned, frame.color, guidance)
    found = KeypointDetector(settings).detect(frame, learned.reference, guidance=weights)
    iio.imwrite(picture, draw_keypoints(frame, found))
    for i, (position, score) in enumerate(zip(found.positions, found.score, strict=True)):
        place = "not found" if not found.found[i] else "{:.3f} {:.3f} {:.3f} m".format(*position)
        output.print(f"keypoint {i + 1}: score {score:.2f}, {place}", markup=False)
    output.print(
        f"{int(found.found.sum())} of {len(found)} were found; drawn into {picture}", markup=False
    )
    require_found(found, settings)

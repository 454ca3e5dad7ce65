"""Training that was interrupted goes on where it stood; nothing in the file can run code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kalm_core.errors import BundleError
from kalm_core.policy.base import Example
from kalm_core.policy.settings import PolicySettings


@dataclass(frozen=True)
class Checkpoint:
    """One file with the state of one training.

    Attributes:
        path: of the file.
        fingerprint: of the demonstrations, settings and seed.
        every: optimiser steps between two writings.
    """

    path: Path
    fingerprint: str
    every: int = 50

    @staticmethod
    def of(
        path: Path, examples: Sequence[Example], settings: PolicySettings, seed: int
    ) -> Checkpoint:
        """Return the checkpoint of a training on these examples."""
        digest = hashlib.sha256(f"{settings.model_dump_json()} {seed}".encode())
        for example in examples:
            for array in (
                example.keypoints.positions,
                example.keypoints.found,
                example.trajectory.T_base_ee,
                example.trajectory.gripper,
                example.trajectory.stamps,
            ):
                digest.update(array.tobytes())
        return Checkpoint(Path(path), digest.hexdigest())

    def write(
        self,
        networks: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        losses: Sequence[float],
    ) -> None:
        """Write the state under a temporary name, then rename."""
        tensors: dict[str, Tensor] = {"losses": torch.tensor(losses, dtype=torch.float64)}
        for name, network in networks.items():
            tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(kept, temporary, {"fingerprint": self.fingerprint})
        temporary.replace(self.path)

    def read(self, networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> list[float]:
        """Put the state back and return the losses so far; none when there is no file.

        Raises:
            BundleError: the file is of another training, or no such file.
        """
        if not self.path.exists():
            return []
        remedy = "delete it to train from the start"
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{self.path} is not a checkpoint: {error}", remedy) from error
        if metadata.get("fingerprint") != self.fingerprint:
            raise BundleError(
                f"{self.path} is of a training with other demonstrations, settings or seed", remedy
            )
        try:
            for name, network in networks.items():
                network.load_state_dict(_below(tensors, name))
            optimizer.load_state_dict(_optimizer_state(optimizer, _below(tensors, "optimizer")))
            losses: list[float] = tensors["losses"].tolist()
        except (KeyError, RuntimeError, ValueError) as error:
            raise BundleError(f"{self.path} is not a checkpoint: {error}", remedy) from error
        return losses

    def remove(self) -> None:
        """Delete the file: the training is done."""
        self.path.unlink(missing_ok=True)


def _below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {key[len(prefix) :]: v for key, v in tensors.items() if key.startswith(prefix)}


def _optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}

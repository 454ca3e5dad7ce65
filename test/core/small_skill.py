"""A whole skill in memory, small and quickly made."""

from __future__ import annotations

import numpy as np
from policy_scenes import make_examples

from kalm_core.keypoints import ReferenceKeypoints
from kalm_core.policy.arrangement import Arrangement
from kalm_core.policy.rigid import RigidTransferPolicy
from kalm_core.skill import Skill, Source


def make_skill(name="open_drawer", task="open the top drawer", seed=0, **record):
    """Return a skill of random keypoints and few demonstrations; `record` adds to its record."""
    rng = np.random.default_rng(seed)
    examples = make_examples(seed, 4)
    arrangement = Arrangement.from_demonstrations([e.keypoints for e in examples])
    features = {"local": 12, "fpfh": 33}
    return Skill(
        name=name,
        task=task,
        created="2026-01-02T03:04:05+00:00",
        reference=ReferenceKeypoints(
            positions=rng.normal(size=(8, 3)),
            features={k: rng.normal(size=(8, c)).astype(np.float32) for k, c in features.items()},
            neighbor_features={
                k: rng.normal(size=(8, 5, c)).astype(np.float32) for k, c in features.items()
            },
            neighbor_positions=rng.normal(size=(8, 5, 3)),
            consistency=np.linspace(0.7, 1.0, 8),
            min_score=np.full(8, 0.8),
        ),
        image=rng.integers(0, 255, (6, 8, 3), dtype=np.uint8),
        perception={"region_backend": "proximity", "weights": {"local": 0.9}},
        policy=RigidTransferPolicy.from_examples(examples, arrangement),
        demonstrations=(Source("demo_0", "/bags/demo_0", "ab"), Source("demo_1")),
        record={"seconds": {"train": 1.5}, "losses": [0.1, 0.05], "left_out": {}, **record},
    )

"""Five tasks of Meta-World with the object anywhere and turned anyhow (section III-A).

`tasks` (what each task is: object, joint, success, keypoints), `scenes` (what is drawn from a
seed), `world` (the physics and the hand), `expert` (the package's scripted experts, as
demonstrations), `true_keypoints` (oracle keypoints, displaced ones), `views` (what a camera
sees) and `replay` (48 poses, followed). Needs `requirements/benchmarks.txt`; nothing else in the
suite does.
"""

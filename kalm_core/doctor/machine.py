"""The computer: Python, cores, memory, disk, GPU, off-screen rendering, real time."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from pathlib import Path

from kalm_core.doctor.finding import Finding, missing, ok
from kalm_core.doctor.probe import once, python, version

OLDEST, NEWEST = (3, 10), (3, 13)
LEAST_MEMORY, LEAST_DISK, LEAST_CORES = 4.0, 5.0, 2
REAL_TIME_PRIORITY = 80

_RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='.1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().max() > 0, "the picture is black"
"""


def python_version() -> Finding:
    """Check that the interpreter is one that the suite's packages exist for."""
    text = platform.python_version()
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return ok(text)
    return missing(f"{text}, expected 3.10 to 3.13", "make the environment with such a Python")


def cores() -> Finding:
    """Check the number of cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    if count >= LEAST_CORES:
        return ok(f"{count}")
    return missing(f"{count}", "simulator and nodes want two or more; expect everything to be slow")


def memory() -> Finding:
    """Check the memory that is free now."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1e6 for line in lines}
    text = f"{sizes['MemAvailable']:.1f} of {sizes['MemTotal']:.1f} GB free"
    if sizes["MemAvailable"] >= LEAST_MEMORY:
        return ok(text)
    return missing(text, f"close other programs; learning wants {LEAST_MEMORY:.0f} GB")


def disk() -> Finding:
    """Check the space where bags and skills are written."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    text = f"{free:.1f} GB free here"
    if free >= LEAST_DISK:
        return ok(text)
    return missing(text, "free some space: a minute of images at 30 Hz is 2.8 GB")


@once
def _torch() -> tuple[bool, str]:
    """Import torch once for two lines; the answer is its CUDA device, or "-"."""
    return python(
        "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '-')"
    )


def torch(remedy: str) -> Finding:
    """Check that torch can be imported."""
    if not version("torch"):
        return missing("not installed", remedy)
    good, text = _torch()
    return ok(version("torch")) if good else missing(f"installed, but: {text}", remedy)


def gpu() -> Finding:
    """Check whether torch sees a CUDA device."""
    good, text = _torch()
    if good and text != "-":
        return ok(text)
    return missing("none that torch can use", "none is needed: everything runs on the CPU")


def rendering() -> Finding:
    """Render one small picture without a screen, by EGL and by OSMesa; one of them is enough."""
    answers = {
        name: python(_RENDER, {"MUJOCO_GL": name, "PYOPENGL_PLATFORM": name})
        for name in ("egl", "osmesa")
    }
    text = "; ".join(
        f"{name} {'renders' if good else f'fails ({reason})'}"
        for name, (good, reason) in answers.items()
    )
    working = [name for name, (good, _) in answers.items() if good]
    if not working:
        return missing(text, "apt install libegl1 libgl1-mesa-dri libgles2, or libosmesa6")
    chosen = os.environ.get("MUJOCO_GL", "")
    if chosen in answers and chosen not in working:
        return missing(f"MUJOCO_GL={chosen} is set; {text}", f"export MUJOCO_GL={working[0]}")
    return ok(text, "" if chosen else f"export MUJOCO_GL={working[0]}")


def real_time_kernel() -> Finding:
    """Check for PREEMPT_RT, which libfranka demands on a real arm."""
    mark = Path("/sys/kernel/realtime")
    if mark.exists() and mark.read_text(encoding="ascii").strip() == "1":
        return ok(platform.release())
    return missing(
        f"{platform.release()} is not a real-time kernel",
        "install one (Ubuntu Pro: `pro enable realtime-kernel`); the simulator needs none",
    )


def real_time_priority() -> Finding:
    """Check that this user may raise threads to real-time priority."""
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    if soft == resource.RLIM_INFINITY or soft >= REAL_TIME_PRIORITY or os.geteuid() == 0:
        return ok("root" if os.geteuid() == 0 else f"rtprio up to {soft}")
    return missing(
        f"rtprio limit is {soft}",
        "put `@realtime - rtprio 99` and `@realtime - memlock unlimited` into "
        "/etc/security/limits.conf and join the group realtime",
    )

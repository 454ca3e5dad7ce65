"""What is there and what is missing on this machine, one line per thing, with the remedy.

`checks` holds the table; the modules beside it hold the small functions that it names.
"""

from kalm_core.doctor.finding import Check, Finding, Status
from kalm_core.doctor.run import Line, run_checks

__all__ = ["Check", "Finding", "Line", "Status", "run_checks"]

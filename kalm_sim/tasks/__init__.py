"""The tasks of the laboratory: the paper's three real-robot tasks.

`base` says what a task is, `registry` lists them. `cabinet`, `coffee_machine` and `bowl` hold what
is drawn from a seed; `drawer`, `handle` and `pour` build it and tell how far the task is done.
"""

"""Asking a vision-language model: about a region, a mask, and where a part is in a new image.

`settings` names the server, `client` talks to it, `transcript` records and replays, `conversation`
asks until the answer fits its schema, `grid` and `pictures` draw, `prompts` and `answers` hold the
three questions of the paper and what may be answered, `guidance` asks the third one at run time.
"""

from __future__ import annotations

from kalm_core.vlm.settings import VlmSettings as VlmSettings

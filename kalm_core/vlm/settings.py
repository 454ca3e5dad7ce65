"""Which vision-language model is asked, and how long and how often."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from kalm_core.settings import Settings


class VlmSettings(Settings):
    """Settings of the VLM; any server that speaks OpenAI's chat completions will do."""

    base_url: str = Field(
        "https://api.openai.com/v1",
        description="address of the server; vLLM: http://127.0.0.1:8000/v1, "
        "Ollama: http://127.0.0.1:11434/v1",
    )
    model: str = Field("gpt-4o", min_length=1, description="name of the model there")
    key_variable: str = Field(
        "OPENAI_API_KEY",
        description="environment variable that holds the key, never the key itself; empty sends "
        "none",
    )
    timeout_s: float = Field(60.0, gt=0.0, le=3600.0, description="of one call [s]")
    total_s: float = Field(
        180.0, gt=0.0, le=7200.0, description="of one question with all its retries and waits [s]"
    )
    retries: int = Field(
        5, ge=0, le=100, description="after time-outs, rate limits and server errors"
    )
    backoff_s: float = Field(
        1.0, gt=0.0, le=60.0, description="first wait before a retry, doubled each time [s]"
    )
    max_calls: int = Field(
        40, ge=1, le=10_000, description="calls for one skill at most, and for one detection"
    )
    max_tokens: int = Field(1000, ge=50, le=100_000, description="of one answer")
    reasks: int = Field(
        2, ge=0, le=10, description="times that an answer which cannot be used is asked for again"
    )
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="0 answers most predictably")
    structured: bool = Field(
        True, description="ask the server to hold the answer to the schema, where it can"
    )
    frames: int = Field(4, ge=1, le=32, description="images of the demonstration shown")
    grid_columns: int = Field(11, ge=2, le=40, description="of the grid drawn on images")
    grid_rows: int = Field(5, ge=2, le=40, description="of the grid drawn on images")
    regions_per_demonstration: int = Field(
        2, ge=1, le=20, description="regions asked for in one demonstration before the next one"
    )
    outside_weight: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        description="factor on the scores of pixels outside of the cells that it names at run "
        "time (0.9 in the authors' code, no number in the paper)",
    )
    replay: Path | None = Field(
        None, description="folder of a transcript that answers in place of a server; none asks"
    )

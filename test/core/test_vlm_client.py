from __future__ import annotations

import json
import logging
import time

import pytest
from vlm_scenes import GRID, KEY, noise_truth, question, serving, settings_for

from kalm_core.errors import BackendUnavailableError, CancelledError, ConfigError, VlmError
from kalm_core.progress import Progress
from kalm_core.vlm.answers import RegionAnswer
from kalm_core.vlm.client import OpenAiClient
from kalm_core.vlm.conversation import Conversation
from kalm_core.vlm.settings import VlmSettings
from kalm_core.vlm.transcript import RecordingClient, ReplayClient
from kalm_sim.vlm_answers import MALFORMED, Rates
from kalm_sim.vlm_server import Faults


def ask(server, progress=None, **changes):
    settings = settings_for(server, **changes)
    client = OpenAiClient(settings, progress)
    conversation = Conversation(client, GRID, settings.reasks)
    return conversation.ask(question(), RegionAnswer), client, conversation


def test_the_answer_comes_back_through_http():
    truth = noise_truth()
    with serving() as server:
        answer, client, _ = ask(server)
    assert answer.cells == truth.cells(truth.part, GRID)
    assert (answer.object, answer.part) == ("box", "lid")
    assert client.calls == server.requests == 1


def test_unusable_answers_are_asked_again_with_what_was_wrong():
    seen = []
    for seed in range(10):
        with serving(Rates(malformed=0.7), seed=seed) as server:
            answer, client, conversation = ask(server, reasks=10)
        assert answer.part == "lid"
        seen += [m.parts[0] for m in conversation.messages[3:] if m.role == "user"]
        assert client.calls == len(server.said)
    assert len(seen) >= 4
    assert all(text.startswith("Your answer cannot be used: ") for text in seen)
    assert len({text.split(":")[1] for text in seen}) >= 3


@pytest.mark.parametrize("how", MALFORMED)
def test_a_model_that_never_answers_well_ends_in_an_error_that_quotes_it(how, monkeypatch):
    monkeypatch.setattr("kalm_sim.vlm_answers.MALFORMED", (how,))
    with (
        serving(Rates(malformed=1.0)) as server,
        pytest.raises(VlmError, match=r"no answer that can be used in 3 attempts.*it said '"),
    ):
        ask(server)
    assert server.requests == 3


def test_a_refusal_is_asked_again_and_then_quoted():
    with (
        serving(Rates(refusal=1.0)) as server,
        pytest.raises(VlmError, match=r"you refused.*I can't help with that"),
    ):
        ask(server, reasks=1)
    assert server.requests == 2


def test_rate_limits_and_server_errors_are_waited_for():
    with serving(faults=Faults(limited=0.4, failing=0.3), seed=1) as server:
        answer, client, _ = ask(server, retries=50)
    assert answer.part == "lid"
    assert client.calls == server.requests > 1


def test_the_wait_that_the_server_asks_for_is_kept():
    with serving(faults=Faults(limited=1.0, retry_after="0.3")) as server:
        started = time.monotonic()
        with pytest.raises(VlmError, match=r"did not answer within .* and 2 calls.*429"):
            ask(server, retries=1)
        assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    "faults",
    [
        Faults(limited=1.0),
        Faults(limited=1.0, retry_after="3600"),
        Faults(failing=1.0),
        Faults(stalled=1.0),
    ],
)
def test_it_gives_up_within_the_stated_time(faults):
    with serving(faults=faults) as server:
        started = time.monotonic()
        with pytest.raises(VlmError, match=r"within 0\.6 s") as error:
            ask(server, total_s=0.6, timeout_s=0.25, retries=100)
        assert time.monotonic() - started < 1.5
    assert "127.0.0.1" in str(error.value)


def test_a_server_that_is_not_there_is_named():
    with serving() as server:
        settings = settings_for(server, retries=1)
    with pytest.raises(VlmError, match=r"127\.0\.0\.1:\d+ did not answer") as error:
        Conversation(OpenAiClient(settings), GRID, 0).ask(question(), RegionAnswer)
    assert "base_url" in error.value.remedy


def test_a_stalled_call_can_be_cancelled():
    asked = time.monotonic()
    progress = Progress(should_stop=lambda: time.monotonic() - asked > 0.2)
    with serving(faults=Faults(stalled=1.0)) as server, pytest.raises(CancelledError):
        ask(server, progress)
    assert time.monotonic() - asked < 1.5


def test_calls_are_capped():
    with (
        serving(Rates(malformed=1.0)) as server,
        pytest.raises(VlmError, match="cap of 2 calls") as error,
    ):
        ask(server, max_calls=2, reasks=10)
    assert server.requests == 2
    assert "max_calls" in error.value.remedy


def test_a_server_without_structured_output_is_asked_without_it():
    with serving(faults=Faults(structured=False)) as server:
        answer, client, _ = ask(server, retries=0)
    assert answer.part == "lid"
    assert client.calls == 2


def test_a_wrong_address_says_so():
    with serving() as server, pytest.raises(VlmError, match="404") as error:
        ask(server, base_url=server.url.removesuffix("/v1"), retries=0)
    assert "base_url" in error.value.remedy


def test_the_key_reaches_no_error_and_no_log(monkeypatch, caplog):
    monkeypatch.setenv("TEST_VLM_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with serving(faults=Faults(key="another")) as server:
        with pytest.raises(VlmError, match=r"401.*Bearer \[key\]") as error:
            ask(server, key_variable="TEST_VLM_KEY")
        assert server.requests == 1
    assert KEY not in caplog.text
    shown = error.value
    while shown is not None:
        assert KEY not in repr(shown) + str(shown)
        shown = shown.__cause__ or shown.__context__


def test_nothing_of_the_environment_but_the_key_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "of-another-account")
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organization")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "my-project")
    with serving() as server:
        ask(server)
        sent = " ".join(server.headers.values())
        assert not any(text in sent for text in ("another-account", "organization", "my-project"))
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Token: of-the-company")
        with pytest.raises(ConfigError, match="unset OPENAI_CUSTOM_HEADERS"):
            ask(server)


def test_the_right_key_opens_and_calls_are_logged_without_content(monkeypatch, caplog):
    monkeypatch.setenv("TEST_VLM_KEY", f"{KEY}\n")
    caplog.set_level(logging.DEBUG)
    with serving(faults=Faults(key=KEY)) as server:
        ask(server, key_variable="TEST_VLM_KEY", model="some-model")
    lines = [r.getMessage() for r in caplog.records if r.name == "kalm_core.vlm.client"]
    assert len(lines) == 1
    assert "some-model" in lines[0] and "tokens" in lines[0] and " s" in lines[0]
    assert KEY not in caplog.text
    assert "base64" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"key_variable": "NOT_SET_ANYWHERE"}, BackendUnavailableError, "NOT_SET_ANYWHERE"),
        ({"key_variable": KEY}, ConfigError, "not the name of an environment variable"),
        ({"base_url": f"http://user:{KEY}@host/v1"}, ConfigError, "user, a password"),
        ({"base_url": "localhost"}, ConfigError, "not an address"),
    ],
)
def test_settings_that_cannot_be_right_are_refused_without_quoting_a_secret(changes, kind, text):
    with pytest.raises(kind, match=text) as error:
        OpenAiClient(VlmSettings(**{"key_variable": "", **changes}))
    assert KEY not in str(error.value)


def test_a_key_with_a_line_break_inside_is_refused_without_quoting_it(monkeypatch):
    monkeypatch.setenv("TEST_VLM_KEY", f"{KEY}\nX: y")
    with pytest.raises(BackendUnavailableError, match="TEST_VLM_KEY") as error:
        OpenAiClient(VlmSettings(key_variable="TEST_VLM_KEY"))
    assert KEY not in str(error.value)


def record(server, folder, monkeypatch):
    monkeypatch.setenv("TEST_VLM_KEY", KEY)
    settings = settings_for(server, key_variable="TEST_VLM_KEY", reasks=10)
    client = RecordingClient(OpenAiClient(settings), settings.model)
    conversation = Conversation(client, GRID, settings.reasks)
    answer = conversation.ask(question(), RegionAnswer)
    client.transcript.write(folder)
    return answer, client.transcript


def test_a_transcript_replays_without_network_and_holds_no_key(tmp_path, monkeypatch):
    with serving(Rates(malformed=0.7), Faults(key=KEY), seed=0) as server:
        answer, transcript = record(server, tmp_path, monkeypatch)
    assert len(transcript.exchanges) > 1
    monkeypatch.delenv("TEST_VLM_KEY")
    replay = ReplayClient(tmp_path)
    assert Conversation(replay, GRID, 10).ask(question(), RegionAnswer) == answer
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1
    assert transcript.summary()["answers"] == len(transcript.exchanges)


def test_a_replay_fails_clearly_where_nothing_was_recorded(tmp_path, monkeypatch):
    with serving() as server:
        record(server, tmp_path, monkeypatch)
    replay = ReplayClient(tmp_path)
    conversation = Conversation(replay, GRID, 2)
    with pytest.raises(VlmError, match="has no answer to this question"):
        conversation.ask(question(noise_truth(5)), RegionAnswer)
    Conversation(replay, GRID, 2).ask(question(), RegionAnswer)
    with pytest.raises(VlmError, match="no further answer"):
        Conversation(replay, GRID, 2).ask(question(), RegionAnswer)


@pytest.mark.parametrize("text", ["{", '{"schema_version": 1}', None])
def test_a_damaged_transcript_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "transcript.json").write_text(text)
    with pytest.raises(BackendUnavailableError if text is None else Exception) as error:
        ReplayClient(tmp_path)
    assert "transcript.json" in str(error.value)


def test_a_key_that_the_model_repeats_is_not_kept(tmp_path, monkeypatch):
    truth = noise_truth()
    leaky = type(truth)(truth.image, f"box {KEY}", truth.part, truth.others)
    with serving(truth=leaky) as server:
        answer, transcript = record(server, tmp_path, monkeypatch)
    assert answer.object == "box [key]"
    assert KEY not in json.dumps([e.reply.text for e in transcript.exchanges])

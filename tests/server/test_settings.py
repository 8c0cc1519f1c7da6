"""Settings: cast and checked once, secrets never shown."""

from __future__ import annotations

import pytest

from server.settings import Settings, SettingsError

pytestmark = pytest.mark.unit


def test_defaults_are_valid() -> None:
    settings = Settings.read({})
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, "mini")
    assert settings.max_upload_bytes == 10 * 1024 * 1024


def test_the_environment_is_cast() -> None:
    settings = Settings.read(
        {
            "LIVEHEAD_PORT": " 9000 ",
            "LIVEHEAD_MODEL": "fake",
            "LIVEHEAD_IDLE_TIMEOUT_S": "2.5",
            "LIVEHEAD_CORS_ORIGINS": "https://a.example, https://b.example,",
            "LIVEHEAD_ICE_SERVERS": '[{"urls": "turn:t.example", "username": "u"}]',
            "LIVEHEAD_LISTENING": "false",
            "LIVEHEAD_HOST": "",
            "OTHER": "x",
        }
    )
    assert settings.port == 9000 and settings.model == "fake"
    assert settings.idle_timeout_s == 2.5 and settings.host == "127.0.0.1"
    assert not settings.listening and Settings.read({}).listening
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.ice_servers == ({"urls": "turn:t.example", "username": "u"},)


def test_the_command_line_wins_where_it_says_something() -> None:
    environment = {"LIVEHEAD_PORT": "9000", "LIVEHEAD_MODEL": "fake"}
    settings = Settings.read(environment, port=9001, model=None)
    assert (settings.port, settings.model) == (9001, "fake")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "http", "a whole number"),
        ("PORT", "70000", "between 0 and 65535"),
        ("MODEL", "huge", "one of mini, hallo, echomimic"),
        ("MAX_SESSIONS", "-1", "0 or more"),
        ("IDLE_TIMEOUT_S", "-1", "more than 0"),
        ("IDLE_TIMEOUT_S", "nan", "more than 0"),
        ("THREADS", "-2", "0 or more"),
        ("LIVELINESS", "2", "0 to 1"),
        ("LISTENING", "sometimes", "true or false"),
        ("LIVELINESS", "much", "a number"),
        ("LOG_LEVEL", "loud", "one of debug"),
        ("LOG", "xml", "one of text, json"),
        ("METRICS", "perhaps", "true or false"),
        ("ICE_SERVERS", "{}", "a JSON list"),
        ("TURN_URLS", "turn.example", "turn: or turns: URLs"),
        ("TURN_TTL_S", "0", "1 or more"),
        ("PEER_MAX_SESSIONS", "-1", "0 or more"),
        ("ALLOW_ANYONE", "perhaps", "true or false"),
        ("ICE_SERVERS", '[{"url": "x"}]', "a JSON list"),
        ("ICE_SERVERS", '[{"urls": 5}]', "a JSON list"),
    ],
)
def test_wrong_values_are_named(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected) as refused:
        Settings.read({f"LIVEHEAD_{name}": value})
    assert f"LIVEHEAD_{name}" in str(refused.value)
    assert refused.value.code == "bad_setting"


def test_secrets_are_not_shown() -> None:
    turn = ({"urls": "turn:t.example", "credential": "hush"},)
    settings = Settings.read(
        {},
        api_key="sesame",
        admin_key="sesame",
        turn_urls=("turn:t.example",),
        turn_secret="hush",
        ice_servers=turn,
        metrics_key="meter",
    )
    for shown in (settings.shown(), repr(settings)):
        assert "sesame" not in shown and "hush" not in shown and "meter" not in shown
    assert "api_key=set" in settings.shown() and "turn_secret=set" in settings.shown()
    assert "metrics_key=set" in settings.shown()
    assert "turn_secret=unset" in Settings.read({}).shown()
    assert "hush" not in f"{settings.ice_servers} {settings.model_dump()} {settings.api_key}"
    assert settings.ice_servers_in_clear() == list(turn)
    with pytest.raises(SettingsError) as refused:
        Settings.read({"LIVEHEAD_ICE_SERVERS": "hush"})
    assert "hush" not in str(refused.value)
    with pytest.raises(SettingsError) as refused:
        Settings.read({"LIVEHEAD_ICE_SERVERS": '[{"url": "x", "credential": "hush"}]'})
    assert "hush" not in str(refused.value) and "\n" not in str(refused.value)


def test_turn_needs_its_servers_and_their_secret() -> None:
    settings = {"LIVEHEAD_TURN_URLS": "turn:t.example", "LIVEHEAD_TURN_SECRET": "hush"}
    assert Settings.read(settings).turn_urls == ("turn:t.example",)
    for name in settings:
        with pytest.raises(SettingsError, match="TURN_URLS and TURN_SECRET together") as refused:
            Settings.read({name: settings[name]})
        assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)]
    + [("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("box.example", False)],
)
def test_only_loopback_is_this_machine(host: str, local: bool) -> None:
    assert Settings.read({"LIVEHEAD_HOST": host}).local is local


def test_settings_are_frozen_and_see_the_environment_in_read_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVEHEAD_PORT", "9000")
    settings = Settings()
    assert settings.port == 8000
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_options_of_the_model_come_from_variables_of_their_own_alone() -> None:
    settings = Settings.read({"LIVEHEAD_OPTIONS": "nonsense", "LIVEHEAD_MODEL": "fake"})
    assert settings.model == "fake"


def test_sizes_are_sides_or_width_by_height() -> None:
    assert Settings.read({"LIVEHEAD_SIZE": "720x1280"}).options.size == (1280, 720)
    with pytest.raises(SettingsError, match="LIVEHEAD_SIZE: expected a side or WIDTHxHEIGHT"):
        Settings.read({"LIVEHEAD_SIZE": "511"})

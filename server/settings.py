"""The server's settings: read from the environment once, cast, validated and frozen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from models.errors import LiveheadError
from models.options import ModelOptionError, ModelOptions, flagged_options, read_options, split_list
from models.registry import MODELS

PREFIX = "LIVEHEAD_"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMS = ("text", "json")
SECRETS = frozenset({"admin_key", "api_key", "ice_servers", "metrics_key", "turn_secret"})
TURN_SCHEMES = ("turn:", "turns:")
MEGABYTE = 1024 * 1024


class SettingsError(LiveheadError):
    """Raised at start when a setting is not what it must be (``bad_setting``)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_setting")


def _ice_server(server: object) -> dict[str, Any]:
    """Check one STUN or TURN server; its credential becomes a secret."""
    if not isinstance(server, dict) or not set(server) <= {"urls", "username", "credential"}:
        raise ValueError("not an object with urls, username and credential")
    urls, credential = server.get("urls"), server.get("credential")
    several = urls if isinstance(urls, list) else [urls]
    texts = [server.get("username") or "", credential or "", *several]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("not text")
    return {**server, "credential": SecretStr(credential)} if credential else server


def _expect(holds: Callable[[Any], bool], expected: str) -> AfterValidator:
    """A check whose message is what was expected."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _one_of(names: tuple[str, ...]) -> AfterValidator:
    return _expect(lambda name: name in names, f"one of {', '.join(names)}")


def _from_text(cast: Callable[[str], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: cast(value) if isinstance(value, str) else value)


Port = Annotated[int, _expect(lambda port: 0 <= port <= 65_535, "between 0 and 65535")]
NoneOrMore = Annotated[int, _expect(lambda count: count >= 0, "0 or more")]
OneOrMore = Annotated[int, _expect(lambda count: count >= 1, "1 or more")]
Bitrate = Annotated[int, _expect(lambda rate: rate >= 10_000, "10000 bit/s or more")]
Seconds = Annotated[float, _expect(lambda seconds: seconds > 0, "more than 0 seconds")]
CommaList = Annotated[tuple[str, ...], NoDecode, _from_text(split_list)]
TurnUrls = Annotated[
    CommaList,
    _expect(lambda urls: all(url.startswith(TURN_SCHEMES) for url in urls), "turn: or turns: URLs"),
]
IceServers = Annotated[
    tuple[Annotated[dict[str, Any], BeforeValidator(_ice_server)], ...],
    NoDecode,
    _from_text(json.loads),
]


class Settings(BaseSettings):
    """Each field ``x`` can be set by the environment variable ``LIVEHEAD_X``.

    Attributes:
        host: address to listen on.
        port: TCP port to listen on; 0 takes any free one.
        options: of every worker's model; each option is a variable of its own (``LIVEHEAD_MODEL``,
            ``LIVEHEAD_WEIGHTS``, ...), see ``ModelOptions``.
        workers: worker processes, each with its own warm model; 0 is as many as serve most, which
            the first one finds.
        max_batch: streams that one model call may serve.
        max_sessions: sessions at once; the next caller is answered 503 with Retry-After. 0 has as
            many as the workers, when they start, measure to run in real time.
        max_identities: prepared portraits that each worker keeps.
        max_upload_bytes: largest portrait.
        avatars_dir: folder of the avatars that are added; "" is one of the user's own data folders.
        max_avatars: most avatars that may be added.
        portrait_urls: whether portraits may be given by a URL, which the server then fetches.
        queue: callers that may wait for a place when all are taken; 0 refuses them at once.
        idle_timeout_s: a session that nobody came to for so long is closed.
        resume_s: so long a caller that left, or was lost, may come back to the session.
        max_duration_s: no session lives longer.
        closing_warning_s: how long before that the caller is warned.
        drain_s: a server that is told to stop lets what is being spoken go on for so long.
        listening: portraits nod to a caller whose microphone they hear; a session may say no.
        disclosure: every picture is labelled as generated; a session may ask for it too.
        api_key: when set, whoever creates a session must present it as a Bearer token.
        api_keys_file: JSON file of more such keys, hashed, each with a name and limits of its own
            (``livehead key add``); read at the start.
        admin_key: opens /admin, which is not there without it or a key of the file that may.
        allow_anyone: listen beyond this machine without any key.
        peer_requests_per_minute: of each address that has no key; 0 for any number. This machine's
            own addresses are not counted.
        peer_max_sessions: sessions at once of each such address; 0 for any number.
        cors_origins: origins of pages that may call the API, comma separated; ``*`` for all.
        ice_servers: STUN and TURN servers for calls, a JSON list of {"urls", "username",
            "credential"}; callers receive them.
        max_viewers: of one session by WHEP.
        bitrate_start: bit/s of a call's pictures at first; they follow the caller's link.
        bitrate_floor: bit/s that they do not fall below.
        bitrate_cap: bit/s that they never exceed; 0 takes what suits their size.
        turn_urls: TURN servers that take short-lived credentials (coturn's ``use-auth-secret``),
            comma separated, such as ``turn:turn.example:3478``.
        turn_secret: what those servers were given as ``static-auth-secret``.
        turn_ttl_s: how long such a credential opens new calls.
        log_level: of the server's own log lines.
        log: their form: text, or json with one object a line.
        metrics: whether ``/metrics`` is served, to anyone unless there is a metrics_key.
        metrics_key: when set, whoever reads ``/metrics`` must present it as a Bearer token.
        traces: whether spans go to the OTLP endpoint of OpenTelemetry's own variables; needs the
            extra ``otel``.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )

    host: str = "127.0.0.1"
    port: Port = 8000
    options: ModelOptions = ModelOptions()
    workers: NoneOrMore = 0
    max_batch: OneOrMore = 4
    max_sessions: NoneOrMore = 0
    max_identities: OneOrMore = 32
    max_upload_bytes: OneOrMore = 10 * MEGABYTE
    avatars_dir: str = ""
    max_avatars: NoneOrMore = 200
    portrait_urls: bool = True
    queue: NoneOrMore = 0
    idle_timeout_s: Seconds = 60.0
    resume_s: Seconds = 15.0
    max_duration_s: Seconds = 3600.0
    closing_warning_s: Annotated[float, _expect(lambda seconds: seconds >= 0, ">= 0")] = 30.0
    drain_s: Annotated[float, _expect(lambda seconds: seconds >= 0, ">= 0")] = 8.0
    listening: bool = True
    disclosure: bool = False
    api_key: SecretStr = Field(default=SecretStr(""), repr=False)
    api_keys_file: str = ""
    admin_key: SecretStr = Field(default=SecretStr(""), repr=False)
    allow_anyone: bool = False
    peer_requests_per_minute: NoneOrMore = 120
    peer_max_sessions: NoneOrMore = 32
    cors_origins: CommaList = ()
    ice_servers: IceServers = Field(default=(), repr=False)
    max_viewers: NoneOrMore = 16
    bitrate_start: Bitrate = 400_000
    bitrate_floor: Bitrate = 100_000
    bitrate_cap: NoneOrMore = 0
    turn_urls: TurnUrls = ()
    turn_secret: SecretStr = Field(default=SecretStr(""), repr=False)
    turn_ttl_s: OneOrMore = 3600
    log_level: Annotated[str, _one_of(LOG_LEVELS)] = "info"
    log: Annotated[str, _one_of(LOG_FORMS)] = "text"
    metrics: bool = True
    metrics_key: SecretStr = Field(default=SecretStr(""), repr=False)
    traces: bool = False

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Let every option of the model be given by its own name."""
        names = {item.name for item in flagged_options()}
        options = {name: value for name, value in given.items() if name in names}
        if not options:
            return given
        if options.get("model", "mini") not in MODELS:
            raise ModelOptionError("model", f"one of {', '.join(MODELS)}", options["model"])
        rest = {name: value for name, value in given.items() if name not in names}
        return {**rest, "options": read_options(options)}

    @model_validator(mode="after")
    def _turn_is_whole(self) -> Self:
        if bool(self.turn_urls) != bool(self.turn_secret.get_secret_value()):
            raise ValueError("TURN_URLS and TURN_SECRET together, got one of them")
        return self

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the address that is listened on."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def asks_for_key(self) -> bool:
        """Whether opening a session needs a key."""
        return bool(self.api_key.get_secret_value() or self.api_keys_file)

    @property
    def avatars_folder(self) -> Path:
        """Where added avatars are kept."""
        if self.avatars_dir:
            return Path(self.avatars_dir)
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(data) / "livehead" / "avatars"

    @property
    def model(self) -> str:
        """Name of the model that every worker runs."""
        return self.options.model

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given alone: ``read`` gives the environment."""
        return (init_settings,)

    @classmethod
    def read(cls, environment: Mapping[str, str], **overrides: Any) -> Settings:
        """Settings from ``LIVEHEAD_*`` variables; overrides that are not None win.

        Raises:
            SettingsError: a value cannot be cast or is out of range.
        """
        texts = {name.lower(): text.strip() for name, text in environment.items() if text.strip()}
        texts.pop(f"{PREFIX}options".lower(), None)  # each option is a variable of its own
        variables = EnvSettingsSource(cls)
        variables.env_vars = texts
        of_model = {
            item.name: texts[name]
            for item in flagged_options()
            if (name := f"{PREFIX}{item.name}".lower()) in texts
        }
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**{**variables(), **of_model, **given})
        except ValidationError as error:
            raise SettingsError(_explain(error)) from error
        except ModelOptionError as error:
            raise SettingsError(
                f"{PREFIX}{error.option.upper()}: expected {error.expected}, got {error.got!r};"
                " change the setting"
            ) from error

    def shown(self) -> str:
        """One line for the start-up log; secrets are masked."""
        pairs = [f"{item.name}={getattr(self.options, item.name)}" for item in flagged_options()]
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name == "options":
                continue
            if name in SECRETS:
                value = "set" if value else "unset"
            pairs.append(f"{name}={value}")
        return " ".join(pairs)

    def ice_servers_in_clear(self) -> list[dict[str, Any]]:
        """The STUN and TURN servers with their credentials, for callers and calls."""
        return [
            {
                name: value.get_secret_value() if isinstance(value, SecretStr) else value
                for name, value in server.items()
            }
            for server in self.ice_servers
        ]


def _explain(error: ValidationError) -> str:
    """The first wrong setting: its variable, what was expected, what it was."""
    wrong = error.errors(include_url=False)[0]
    if not wrong["loc"]:  # two settings that do not fit each other
        return f"expected {wrong['msg'].removeprefix('Value error, ')}; change a setting"
    name, kind = str(wrong["loc"][0]), wrong["type"]
    if name == "ice_servers":
        expected = "a JSON list of objects with urls"
    elif kind.startswith("int_"):
        expected = "a whole number"
    elif kind.startswith("bool_"):
        expected = "true or false"
    elif kind.startswith("float_"):
        expected = "a number"
    else:
        expected = wrong["msg"].removeprefix("Value error, ")
    got = "something else" if name in SECRETS else repr(wrong["input"])
    return f"{PREFIX}{name.upper()}: expected {expected}, got {got}; change the setting"

"""Help: every command has an example, both languages are complete, and nothing heavy is imported for it."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys

import click
import pytest

from tests.cli.program import environ, understudy
from understudy.cli.click_words import wrap_wide
from understudy.cli.commands import root
from understudy.texts import catalogue

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def every(command: click.Command, path: tuple[str, ...] = ()):
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            yield from every(command.get_command(ctx, name), (*path, name))


COMMANDS = dict(every(root))
PATHS = pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "understudy")


@PATHS
def test_every_command_has_help_and_an_example_of_itself(path):
    command = COMMANDS[path]
    assert command.help
    shown = command.get_help(click.Context(command, info_name="x"))
    assert " ".join(("$ understudy", *path)) in shown
    assert all(option.help for option in command.params if isinstance(option, click.Option) and not option.hidden)


@PATHS
def test_an_example_is_a_command_that_parses(path):
    for line in COMMANDS[path].example.splitlines():
        words = re.sub(r"^.*\| ", "", line).split("#")[0].split(" >")[0]
        arguments = shlex.split(words)[1:]
        ctx = click.Context(root, info_name="understudy")
        command: click.Command = root
        while isinstance(command, click.Group) and arguments:
            command = command.get_command(ctx, arguments.pop(0))
            ctx = click.Context(command, parent=ctx, **command.context_settings)
        command.parse_args(ctx, arguments)


def test_what_the_issue_names_exists():
    named = {
        *("up", "hub", "daemon", "service", "submit", "tasks", "task", "cancel", "retry", "move", "status", "daemons"),
        *("incidents", "notices", "notify", "takeover", "tail", "doctor", "keys", "deployments", "verify", "drill"),
        *("completion", "daemon-control", "login-link", "store", "deploy"),
    }
    assert named == {path[0] for path in COMMANDS if path}
    subs = {" ".join(path) for path in COMMANDS if len(path) == 2}
    assert subs == {
        *(f"daemons {verb}" for verb in ("list", "set", "forget", "pause", "resume")),
        *(f"incidents {verb}" for verb in ("list", "ack", "snooze")),
        *(f"keys {verb}" for verb in ("create", "list", "revoke", "rotate")),
        *(f"service {verb}" for verb in ("install", "uninstall", "start", "stop", "restart", "status")),
        "deployments list",
        "deploy init",
        "deploy cloudflare",
        "notify test",
        "store check",
        "store copy",
        *(f"takeover {verb}" for verb in ("status", "pause", "resume")),
    }


def test_japanese_help_has_no_english_sentence_left():
    """Every line of prose is Japanese; options, examples and rows of names may be anything."""
    script = (
        "import json, click; from understudy.cli import start; from understudy.cli.click_words import speak; speak()\n"
        "from tests.cli.test_help import COMMANDS\n"
        "print(json.dumps([c.get_help(click.Context(c, info_name='x')) for c in COMMANDS.values()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ(UNDERSTUDY_LANG="ja"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for text in json.loads(done.stdout):
        prose = text.split("例:")[0]
        english = [line for line in prose.splitlines() if re.search(r"[a-z]+ [a-z]+ [a-z]+", line)]
        assert [line for line in english if not JAPANESE.search(line)] == []
        assert "使い方:" in text


@pytest.mark.parametrize("path", [("store",), ("service",), ("deploy",), ("deploy", "init")], ids=" ".join)
def test_japanese_lists_of_commands_have_a_whole_sentence_for_each(path):
    shown = understudy(*path, "--help", env=environ(UNDERSTUDY_LANG="ja")).out
    commands = shown.partition("コマンド:\n")[2].partition("\n\n")[0]
    assert "..." not in commands
    assert commands.endswith("。")


def test_japanese_has_a_word_for_a_number():
    done = understudy("tasks", "--limit", "x", env=environ(UNDERSTUDY_LANG="ja"))
    assert "'x' は正しい整数ではありません" in done.err


def test_japanese_reaches_errors_and_long_lines_break_at_the_width():
    done = understudy("submit", "--nonsense", env=environ(UNDERSTUDY_LANG="ja"))
    assert done.code == 2
    assert "というオプションはありません" in done.err
    assert "使い方は" in done.err
    from understudy.cli.terminal import columns

    shown = understudy("up", "--help", env=environ(LANG="ja_JP.UTF-8", LC_ALL="", COLUMNS="80")).out
    assert max(columns(line) for line in shown.splitlines()) <= 80


def test_click_still_says_the_words_that_we_translate():
    """An upgrade of click that words them otherwise is noticed here."""
    modules = (click.core, click.decorators, click.exceptions, click.formatting, click.parser, click.types)
    source = "".join(inspect.getsource(module) for module in modules)
    words = {text for key, text in catalogue("en").items() if key.startswith("cli.click.")}
    flat = re.sub(r'"\s*\n\s*"', "", source)
    assert {text for text in words if json.dumps(text, ensure_ascii=False)[1:-1] not in flat} == set()


HEAVY = ("uvicorn", "starlette", "urllib3", "msgspec", "http.client", "asyncio", "psutil", "understudy.daemon")


@pytest.mark.parametrize(
    "words", [["--help"], ["up", "--help"], ["hub", "--help"], ["daemon", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(words):
    script = (
        "import sys; from understudy.cli.start import run; code = run(sys.argv[2:])\n"
        "print(code, [m for m in sys.argv[1].split(',') if m in sys.modules], file=sys.stderr)"
    )
    heavy = ",".join(m for m in HEAVY if m != "http.client" or words[0] != "up")
    done = subprocess.run(
        [sys.executable, "-c", script, heavy, *words], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "0 []"


def test_a_client_command_imports_no_server_and_no_pool():
    script = (
        "import sys; from understudy.cli.start import run; code = run(['status'])\n"
        "print(code, [m for m in sys.argv[1].split(',') if m in sys.modules])"
    )
    heavy = "uvicorn,starlette,urllib3,msgspec,asyncio,psutil,ssl_,understudy.daemon,understudy.api"
    env = environ(UNDERSTUDY_HUB="http://127.0.0.1:9", UNDERSTUDY_API_KEY="k" * 20)
    done = subprocess.run(
        [sys.executable, "-c", script, heavy], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "3 []"


def test_no_command_at_all_shows_help_and_fails():
    done = understudy()
    assert (done.code, done.out) == (2, "")
    assert "Usage: understudy" in done.err


def test_a_slip_of_the_keyboard_is_answered_with_the_nearest_command():
    done = understudy("statsu")
    assert done.code == 2
    assert "Did you mean 'status'?" in done.err


@pytest.mark.parametrize(
    ("words", "two"),
    [
        ("notices --dead --waiting", "--dead and --waiting"),
        ("notices --waiting --resend notice-1", "--resend and --waiting"),
        ("drill --live --keep", "--live and --keep"),
        ("verify --seeds 2 --seed 0", "--seeds and --seed"),
        ("daemons set mini --expected-sleep none --expected-sleep 23:00-07:00", "--expected-sleep: `none` and"),
        ("submit x --needs none,gpu", "--needs: `none` and"),
    ],
)
def test_options_of_which_only_one_can_be_meant_are_refused(tmp_path, words, two):
    env = {name: value for name, value in environ(HOME=str(tmp_path)).items() if not name.startswith("UNDERSTUDY_")}
    done = understudy(*words.split(), env=env, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert two in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_for_understudy(shell):
    done = understudy("completion", shell)
    assert done.code == 0
    assert "_UNDERSTUDY_COMPLETE" in done.out


def test_completion_offers_commands_and_options():
    env = environ(_UNDERSTUDY_COMPLETE="bash_complete", COMP_WORDS="understudy da", COMP_CWORD="1")
    assert "plain,daemon\nplain,daemons\n" in understudy(env=env).out
    env = environ(_UNDERSTUDY_COMPLETE="bash_complete", COMP_WORDS="understudy submit --pri", COMP_CWORD="2")
    assert "plain,--priority" in understudy(env=env).out


def test_the_version_is_that_of_the_package():
    from understudy import __version__

    assert understudy("--version").out == f"understudy {__version__}\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("人が読む形式。 [既定値: 5]", ["人が読む形式。", "[既定値: 5]"]),
        ("導入するバージョンを書く", ["導入するバー", "ジョンを書く"]),
        ("書いてください(空白は不可)", ["書いてください", "(空白は不可)"]),
    ],
)
def test_no_line_begins_with_a_small_kana_or_ends_with_an_opening_bracket(text, lines):
    assert wrap_wide(text, 15).split("\n") == lines

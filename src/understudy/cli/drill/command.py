"""`understudy drill`: plays the story, tells it, and cleans up after it, also after Ctrl-C."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

from understudy.cli.commands import Command
from understudy.cli.exits import ClientError, Exit
from understudy.cli.options import json_option, refuse_two
from understudy.cli.terminal import note
from understudy.spans import span
from understudy.texts import t
from understudy.worker.hidden import hide

EXAMPLE = """understudy drill
understudy drill --live --yes"""


@click.command("drill", cls=Command, help=t("drill.help"), example=EXAMPLE)
@click.option("--live", is_flag=True, help=t("drill.live"))
@click.option("--yes", is_flag=True, help=t("drill.yes"))
@click.option("--keep", is_flag=True, help=t("drill.keep"))
@json_option
def drill(live: bool, yes: bool, keep: bool, as_json: bool) -> int:
    """0 if every step happened."""
    refuse_two(live=live, keep=keep)
    hide()
    if live:
        from understudy.cli.drill.live import play_live

        return play_live(is_agreed=yes, as_json=as_json)
    return _play(is_kept=keep, as_json=as_json)


def _play(*, is_kept: bool, as_json: bool) -> int:
    from understudy.cli.drill.narrator import Narrator
    from understudy.cli.drill.stage import DrillLimits, Stage
    from understudy.cli.drill.steps import play
    from understudy.cli.drill.story import STEPS, DrillStory
    from understudy.cli.up import Interruption, wait_for_no_terminal

    wait_for_no_terminal()
    folder: Path | None = None
    stage: Stage | None = None
    narrator = Narrator(as_json=as_json)
    interruption = Interruption()
    with interruption.heeded():
        try:
            with interruption.held():
                folder = Path(tempfile.mkdtemp(prefix="understudy-drill-"))
                stage = Stage(folder, DrillLimits(), held=interruption.held)
            narrator.say(t("drill.intro", folder=folder))
            play(STEPS, DrillStory(stage), narrator)
        except ClientError:
            is_kept = True  # its logs tell why
            raise
        finally:
            with interruption.ignored():
                if stage is not None:
                    stage.close()
                narrator.end(folder=str(folder) if is_kept and folder is not None else None)
                if folder is not None:
                    _leave(folder, is_kept=is_kept)
    narrator.say(t("drill.happened", count=len(narrator.steps), span=span(narrator.elapsed_ms)))
    return Exit.OK


def _leave(folder: Path, *, is_kept: bool) -> None:
    if is_kept:
        note(t("drill.kept_in", folder=folder))
    else:
        shutil.rmtree(folder, ignore_errors=True)

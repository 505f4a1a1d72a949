"""What goes over the wire is what was read and approved; `python -m tests.notify.goldens` writes it anew."""

from __future__ import annotations

import pytest

from tests.notify.channels import NAMES, REFS, judge, offline
from tests.notify.goldens import FOLDER, path_of, payloads, text_of
from tests.notify.messages import messages
from understudy.notify.channels import CHANNELS
from understudy.texts import LANGUAGES

EACH = [(name, language) for name in NAMES for language in LANGUAGES]


@pytest.mark.parametrize(("name", "language"), EACH)
def test_payloads_are_the_golden_ones(name, language):
    assert text_of(payloads(name, language)) == path_of(name, language).read_text("utf-8")


@pytest.mark.parametrize(("name", "language"), EACH)
def test_the_service_would_take_them(name, language):
    fake, settings = offline(name, language)
    for message in messages(language, REFS.get(name, "")).values():
        for is_plain in (False, True):
            assert judge(fake, CHANNELS[settings.kind].requests_for(settings, message, is_plain=is_plain)) == []


def test_there_is_no_golden_of_nothing():
    assert {path.name for path in FOLDER.iterdir()} == {path_of(*each).name for each in EACH}

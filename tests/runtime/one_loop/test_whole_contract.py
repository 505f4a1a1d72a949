"""The rest of the contract on one loop: too long for the ordinary suite, which asks the hub on threads."""

# ruff: noqa: F403

from __future__ import annotations

import pytest

from tests.api.conftest import kept_store
from tests.api.test_claims import *
from tests.api.test_daemons import *
from tests.api.test_directives import *
from tests.api.test_enqueue import *
from tests.api.test_events import *
from tests.api.test_fencing import *
from tests.api.test_heartbeats import *
from tests.api.test_liveness import *
from tests.api.test_old_daemons import *
from tests.api.test_queue import *
from tests.api.test_results import *
from tests.api.test_shares import *
from tests.api.test_silence import *
from tests.api.test_tasks import *

__all__ = ["kept_store"]
pytestmark = pytest.mark.soak

for _name in (
    *("test_such_lines_are_not_in_the_next_hubs_log", "test_a_stream_goes_on_after_a_restart_of_the_hub"),
    "test_every_start_of_a_hub_is_a_deployment",  # here only a start of another version or with other settings is
    "test_a_task_committed_while_a_poll_begins_to_wait_is_not_missed",  # it reaches into the threads, as the next
    "test_what_is_committed_while_a_stream_begins_is_shown_once",
):
    del globals()[_name]

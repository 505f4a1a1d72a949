"""The network: loses, delays and repeats requests and answers; the client only ever sees an answer or a failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from understudy.simulation.cluster import Cluster
from understudy.simulation.exchange import Letter, Reply
from understudy.simulation.weather import CALM, Weather
from understudy.simulation.world import World
from understudy.worker.effects import Call, Failed, HubAnswer

LATENCY_MS_MAX = 25
TWICE_AFTER_MS_MAX = 60_000
SEEN_HANGING_UP = 0.7


class Sender(Protocol):
    """A party with a link to the hub."""

    @property
    def name(self) -> str:
        """Its name in the story."""
        ...

    @property
    def is_cut(self) -> bool:
        """True if nothing gets through at the moment, in either direction."""
        ...


class Flight:
    """One exchange as its client sees it: it ends once."""

    def __init__(self, done: Callable[[HubAnswer | Failed], None]) -> None:
        self._done = done
        self.is_over = False

    def end(self, answer: HubAnswer | Failed) -> None:
        """The first end counts."""
        if not self.is_over:
            self.is_over = True
            self._done(answer)


class Network:
    """Between all senders and the hub, or the balancer in front of several."""

    def __init__(self, world: World, weather: Weather, hub: Cluster) -> None:
        self._world = world
        self._weather = weather
        self._hub = hub

    def calm_down(self) -> None:
        """From here on nothing is lost."""
        self._weather = CALM

    def send(self, sender: Sender, call: Call, done: Callable[[HubAnswer | Failed], None]) -> Flight:
        """Send a request; `done` is called once, at the latest when its time is over."""
        world, weather = self._world, self._weather
        raw = msgspec.json.encode(call.body) if call.method != "GET" else b""
        letter = Letter(sender.name, call.method, call.path, call.body, raw)
        flight = Flight(done)
        world.after(call.timeout_ms, lambda: self._give_up(letter, flight))
        if sender.is_cut or world.chance(weather.request_lost):
            world.tell(f"{sender.name} {call.method} {call.path} is lost")
            return flight
        delay_ms = world.between(1, LATENCY_MS_MAX)
        if world.chance(weather.request_late):
            delay_ms = world.between(1_000, weather.late_ms_max)
            world.tell(f"{sender.name} {call.method} {call.path} will be {delay_ms} ms late")
        world.after(delay_ms, lambda: self._hub.receive(letter, lambda reply: self._back(sender, flight, reply)))
        if world.chance(weather.request_twice):
            again_ms = delay_ms + world.between(0, TWICE_AFTER_MS_MAX)
            world.after(again_ms, lambda: self._hub.receive(letter, lambda _: None))
        return flight

    def _back(self, sender: Sender, flight: Flight, reply: Reply | None) -> None:
        world, weather = self._world, self._weather
        if reply is None:
            world.after(world.between(1, LATENCY_MS_MAX), lambda: flight.end(Failed("connection refused or reset")))
            return
        if sender.is_cut or world.chance(weather.answer_lost):
            world.tell(f"the answer to {sender.name} is lost")
            if not sender.is_cut and world.chance(0.5):
                world.after(LATENCY_MS_MAX, lambda: flight.end(Failed("connection reset")))
            return
        delay_ms = world.between(1, LATENCY_MS_MAX)
        if world.chance(weather.answer_late):
            delay_ms = world.between(1_000, weather.late_ms_max)
        world.after(delay_ms, lambda: flight.end(HubAnswer(reply.status, reply.body)))

    def _give_up(self, letter: Letter, flight: Flight) -> None:
        if not flight.is_over:
            if self._world.chance(SEEN_HANGING_UP):
                self._hub.hang_up(letter)
            flight.end(Failed("timed out"))

"""The state machine: devices, two nodes and their store, in any order that hypothesis can think of.

Everything runs until nothing is left to do after each step, save what a step holds. The ledger judges at the end.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from store import schema
from store.model import RETAIN_FLAG, decode_frame
from tests.delivery.device import Device
from tests.delivery.ledger import EXPIRY_S, Ledger
from tests.delivery.model_node import NODE_TIMEOUT_S, ErrorLog, ModelNode
from tests.delivery.stepped_store import SteppedStore
from tests.delivery.virtual_loop import Clock

NODES, DEVICES = range(2), range(3)
TOPICS = ("t/1", "t/2")
FILTERS = ("t/1", "t/2", "t/#", "t/+", "$share/g/t/1", "$share/g/t/#")
KINDS = {"persistent": (False, True), "begins anew": (True, True), "clean": (True, False)}
WILLS = (None, None, 0, 3)
SHORT_S = 0.004  # longer than a message waits for company
STEP_S = 0.25
QUIET = 3
LOGGERS = ("broker", "store")
MOST_ROUNDS = 2_000

a_node, a_device = st.sampled_from(NODES), st.sampled_from(DEVICES)


class Model(RuleBasedStateMachine):
    """`store_path` is set by whoever runs it."""

    store_path: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = SteppedStore(self.store_path, self.clock)
        self.store.begin()
        self.errors = ErrorLog()
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self.errors)
            logging.getLogger(name).propagate = False
        self.ledger = Ledger()
        self.devices = [Device(f"d{number}", self.ledger, self.clock) for number in DEVICES]
        self.nodes: list[ModelNode | None] = [None for _ in NODES]
        self.is_full = False
        self._started = 0

    def teardown(self) -> None:
        try:
            self._judge()
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(self.errors)
                logging.getLogger(name).propagate = True
            for node in self._up:
                node.kill(0)
            self.store.close()

    # --- going on

    @property
    def _up(self) -> list[ModelNode]:
        return [each for each in self.nodes if each is not None]

    def run(self) -> None:
        """Go on until nothing is left to do but what is held."""
        for _ in range(QUIET):
            self._rest()
            self._move(SHORT_S)
        self._rest()
        assert not self.errors.lines, self.errors.lines

    def _rest(self) -> None:
        rounds = 0
        while self._work():
            rounds += 1
            assert rounds < MOST_ROUNDS, "it never comes to rest"

    def _work(self) -> bool:
        is_busy = sum(each.work() for each in self._up) > 0
        is_busy |= sum(each.flow() for each in self._up) > 0
        is_busy |= sum(each.work() for each in self.devices) > 0
        for place, node in enumerate(self.nodes):
            if node is not None and node.is_fenced:
                self._kill(place, 0)  # it begins anew, with nothing of what it was
                is_busy = True
        return is_busy

    def _move(self, duration_s: float) -> None:
        self.clock.now_s += duration_s
        self.store.set_time()

    def _pass(self, duration_s: float) -> None:
        for _ in range(round(duration_s / STEP_S)):
            self._move(STEP_S)
            self._rest()

    def _start(self, place: int) -> ModelNode:
        self._started += 1
        node = self.nodes[place] = ModelNode(f"node-{self._started}", self.store, self.clock)
        node.set_full(is_full=self.is_full)
        return node

    def _kill(self, place: int, requests_executed: int) -> None:
        node = self.nodes[place]
        assert node is not None
        self.nodes[place] = None
        node.kill(requests_executed)

    # --- devices

    @initialize()
    def begin(self) -> None:
        for place in NODES:
            self._start(place)
        self.run()

    @precondition(lambda self: self._up)
    @rule(device=a_device, place=a_node, kind=st.sampled_from(sorted(KINDS)), will_delay_s=st.sampled_from(WILLS))
    def connect(self, device: int, place: int, kind: str, will_delay_s: int | None) -> None:
        one, node = self.devices[device], self._up[place % len(self._up)]
        if one.may_connect:
            is_clean, is_persistent = KINDS[kind]
            one.connect(node, is_clean=is_clean, is_persistent=is_persistent, will_delay_s=will_delay_s)
            self.run()

    @precondition(lambda self: self._connected)
    @rule(device=a_device, topic_filter=st.sampled_from(FILTERS), qos=st.sampled_from((1, 2, 0)))
    def subscribe(self, device: int, topic_filter: str, qos: int) -> None:
        self._one_of(self._connected, device).subscribe(topic_filter, qos)
        self.run()

    @precondition(lambda self: self._connected)
    @rule(device=a_device, topic_filter=st.sampled_from(FILTERS))
    def unsubscribe(self, device: int, topic_filter: str) -> None:
        self._one_of(self._connected, device).unsubscribe(topic_filter)
        self.run()

    @precondition(lambda self: self._publishing)
    @rule(
        device=a_device,
        topic=st.sampled_from(TOPICS),
        qos=st.sampled_from((1, 2, 0)),
        is_retain=st.booleans(),
        count=st.integers(1, 3),
    )
    def publish(self, device: int, topic: str, qos: int, is_retain: bool, count: int) -> None:
        one = self._one_of(self._publishing, device)
        for _ in range(count):
            one.publish(topic, qos, is_retain=is_retain)
        self.run()

    @precondition(lambda self: self._connected)
    @rule(device=a_device)
    def withhold(self, device: int) -> None:
        self._one_of(self._connected, device).is_withholding = True

    @precondition(lambda self: any(each.is_withholding for each in self.devices))
    @rule(device=a_device)
    def acknowledge(self, device: int) -> None:
        self._one_of([each for each in self.devices if each.is_withholding], device).acknowledge()
        self.run()

    @precondition(lambda self: self._connected)
    @rule(device=a_device)
    def disconnect(self, device: int) -> None:
        self._one_of(self._connected, device).disconnect()
        self.run()

    @precondition(lambda self: self._open)
    @rule(device=a_device)
    def lose(self, device: int) -> None:
        self._one_of(self._open, device).lose()
        self.run()

    @property
    def _open(self) -> list[Device]:
        return [each for each in self.devices if each.is_open]

    @property
    def _connected(self) -> list[Device]:
        return [each for each in self.devices if each.is_connected]

    @property
    def _publishing(self) -> list[Device]:
        return [each for each in self.devices if each.may_publish]

    def _one_of(self, devices: list[Device], number: int) -> Device:
        return devices[number % len(devices)]

    # --- nodes

    @precondition(lambda self: self._up)
    @rule(place=a_node, requests_executed=st.sampled_from((0, 1, 100)))
    def kill(self, place: int, requests_executed: int) -> None:
        if self.nodes[place] is not None:
            self._kill(place, requests_executed)
            self.run()

    @precondition(lambda self: len(self._up) < len(NODES))
    @rule(is_held=st.booleans())
    def start(self, is_held: bool) -> None:
        node = self._start(self.nodes.index(None))
        if is_held:
            node.hold(requests=True)
        self.run()

    # --- the store

    @rule(place=a_node, what=st.sampled_from(("requests", "answers")))
    def hold(self, place: int, what: str) -> None:
        node = self.nodes[place]
        if node is not None:
            node.hold(requests=what == "requests", answers=what == "answers")

    @precondition(lambda self: any(each.is_holding for each in self._up))
    @rule(place=a_node)
    def step(self, place: int) -> None:
        node = self.nodes[place]
        if node is not None and node.is_holding:
            node.step()
            self.run()

    @precondition(lambda self: any(each.is_holding for each in self._up))
    @rule(place=a_node)
    def release(self, place: int) -> None:
        node = self.nodes[place]
        if node is not None:
            node.release()
            self.run()

    @rule()
    def freeze(self) -> None:
        for each in self._up:
            each.hold(requests=True)

    @precondition(lambda self: any(each.is_holding for each in self._up))
    @rule()
    def thaw(self) -> None:
        for each in self._up:
            each.release()
        self.run()

    @rule(place=a_node)
    def cut(self, place: int) -> None:
        node = self.nodes[place]
        if node is not None:
            node.cut()
            self.run()

    @rule()
    def forget_changes_of_routes(self) -> None:
        """As if so much had changed that the stream does not reach back: the nodes read all routes anew."""
        self.store.call("INCR", schema.ROUTES_VERSION)
        self.store.call("XTRIM", schema.ROUTES, "MAXLEN", 0)
        self.run()

    @rule(is_full=st.booleans())
    def fill(self, is_full: bool) -> None:
        """The store has no memory for messages, or it has again."""
        self.is_full = is_full
        for each in self._up:
            each.set_full(is_full=is_full)
        self.run()

    @rule(duration_s=st.sampled_from((0.5, NODE_TIMEOUT_S + 1.0, EXPIRY_S + 2.0)))
    def wait(self, duration_s: float) -> None:
        self._pass(duration_s)

    # --- the end

    def _judge(self) -> None:
        """Let everything come to an end, and every session be asked for what it has."""
        self._free()
        for device in self.devices:
            device.acknowledge()
        for device in self.devices:
            if not device.is_connected and device.has_persistent_session and device.may_connect:
                device.connect(self._up[0], is_clean=False, is_persistent=True, will_delay_s=None)
        self.run()
        self._pass(3 * NODE_TIMEOUT_S + 4)  # dead nodes are noticed, and wills become due
        self.run()
        log = self._log()
        present = {each.client_id for each in self.devices if each.is_connected}
        assert all(each.is_connected for each in self.devices if each.is_open), "a CONNECT is not answered"
        self.ledger.judge(log, present, {each.client_id: each.connection for each in self.devices})

    def _free(self) -> None:
        self.is_full = False
        for node in self._up:
            node.release()
            node.set_full(is_full=False)
        self.run()
        if not self._up:
            self._start(0)
            self.run()

    def _log(self) -> list[tuple[str, int, bool]]:
        frames = [fields[1] for _, fields in self.store.call("XRANGE", schema.LOG, "-", "+")]
        messages = [each for frame in frames for each in decode_frame(frame)]
        return [(each.topic_name, int(each.payload), bool(each.flags & RETAIN_FLAG)) for each in messages]

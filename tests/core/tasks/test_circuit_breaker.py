from collections.abc import Callable
from unittest.mock import Mock

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.core.tasks import (
    BrokerUnavailable,
    circuit_breaker,
    get_status,
)
from {{ cookiecutter.package_name }}.core.tasks.circuit_breaker import (
    CircuitBreaker,
)
from {{ cookiecutter.package_name }}.core.tasks.on_commit import send_on_commit


@pytest.fixture
def broker(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Mock:
    """A broker that does not respond and has not been called yet."""
    broker = Mock(
        circuit=CircuitBreaker(),
        result_circuit=CircuitBreaker(),
        send=Mock(side_effect=BrokerUnavailable),
        get_status=Mock(side_effect=BrokerUnavailable),
    )
    monkeypatch.setitem(app.extensions, "tasks", broker)
    return broker


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets."""
    clock = [100.0]
    monkeypatch.setattr(circuit_breaker, "monotonic", lambda: clock[0])
    return clock


def send(broker: Mock) -> None:
    """Send a job."""
    send_on_commit(broker.circuit, broker.send, broker.ping)


def read(_: Mock) -> None:
    """Read a status."""
    get_status("1")


@pytest.mark.parametrize(("call", "method"), [(send, "send"), (read, "get_status")])
def test_broker_is_not_called_soon_after_a_failure(
    app: Flask,
    broker: Mock,
    clock: list[float],
    call: Callable[[Mock], None],
    method: str,
) -> None:
    called = getattr(broker, method)
    with app.test_request_context():
        for seconds, calls in [(0.0, 1), (0.5, 1), (1.1, 2), (1.2, 2)]:
            clock[0] = 100 + seconds
            with pytest.raises(BrokerUnavailable):
                call(broker)
            assert called.call_count == calls


def test_one_request_calls_a_broker_that_failed(
    app: Flask,
    broker: Mock,
    clock: list[float],
) -> None:
    with app.test_request_context():
        with pytest.raises(BrokerUnavailable):
            send(broker)
        clock[0] += 1.1
        broker.circuit.reject_if_open()
        with pytest.raises(BrokerUnavailable):
            broker.circuit.reject_if_open()
        broker.send.side_effect = None
        broker.circuit.call(broker.send)
        send(broker)


@pytest.mark.usefixtures("clock")
def test_statuses_are_read_while_jobs_are_rejected(app: Flask, broker: Mock) -> None:
    broker.get_status.side_effect = None
    with app.test_request_context():
        with pytest.raises(BrokerUnavailable):
            send(broker)
        read(broker)


@pytest.mark.usefixtures("clock")
def test_workers_are_not_rejected(app: Flask, broker: Mock) -> None:
    with app.app_context():
        for calls in (1, 2):
            with pytest.raises(BrokerUnavailable):
                send(broker)
            assert broker.send.call_count == calls

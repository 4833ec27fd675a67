"""Redis transport of Celery that takes a message and records it as unacknowledged in one step."""

from collections.abc import Iterable
from queue import Empty
from time import monotonic, time
from typing import Any

from kombu import Exchange
from kombu.transport import redis, virtual
from kombu.utils.json import dumps, loads

# The exchange of jobs. The routing key of a message is the name of its queue.
EXCHANGE = Exchange("jobs", type="topic")

# Seconds between two looks at empty queues.
PAUSE = 0.1

# Take the last message of the first queue that has one, and record it as kombu's `QoS.append` does.
# Neither a worker nor Redis can die between the two.
TAKE = """
for index = 3, #KEYS do
    local message = redis.call('RPOP', KEYS[index])
    if message then
        local properties = cjson.decode(message).properties
        local tag, info = properties.delivery_tag, properties.delivery_info
        local route = cjson.encode(info.exchange) .. ',' .. cjson.encode(info.routing_key)
        redis.call('HSET', KEYS[1], tag, '[' .. message .. ',' .. route .. ']')
        redis.call('ZADD', KEYS[2], ARGV[1], tag)
        return {KEYS[index], message}
    end
end
"""


class QoS(redis.QoS):  # type: ignore[misc]
    """Messages that are not acknowledged yet."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message in this process; the script has recorded it in Redis."""
        virtual.QoS.append(self, message, delivery_tag)


class Channel(redis.Channel):  # type: ignore[misc]
    """Takes messages by a script instead of BRPOP and RPOP.

    kombu 5.7.0 records a message after it has taken it: what was between the two was lost when the
    worker or Redis died (issue 305 of kombu).
    """

    QoS = QoS
    has_no_ack = False
    is_pausing = False

    def basic_consume(self, *args: Any, no_ack: bool, **kwargs: Any) -> Any:
        """Note whether messages are acknowledged: answers of workers to commands are not."""
        self.has_no_ack |= no_ack
        return super().basic_consume(*args, no_ack=no_ack, **kwargs)

    # Private: kombu has no public way to take a message otherwise.
    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send the script; after it found nothing, have Redis wait for a while, as BRPOP does."""
        if self.has_no_ack:
            super()._brpop_start(timeout)
            return
        # Private: the turns of the queues.
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        command = ["BRPOP", "no-such-queue", PAUSE] if self.is_pausing else self.take(queues)
        self._in_poll.send_command(*command)

    # Private: what is read belongs to what was sent.
    def _brpop_read(self, **options: Any) -> Any:
        """Read a message, whose form is that of BRPOP."""
        try:
            is_message = super()._brpop_read(**options)
        except Empty:
            self.is_pausing = not self.is_pausing
            raise
        self.is_pausing = False
        return is_message

    # Private: how `Queue.get` takes one message.
    def _get(self, queue: str) -> Any:
        """Take a message of one queue."""
        with self.conn_or_acquire() as client:
            taken = client.execute_command(*self.take([queue]))
        if taken is None:
            raise Empty
        return loads(taken[1])

    # Private: kombu reads the queues of an exchange from Redis for each message.
    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        """Return the queue of a job, whose name is the routing key; kombu has other messages."""
        if exchange == EXCHANGE.name:
            return [routing_key]
        queues: list[str] = super()._lookup(exchange, routing_key, default)
        return queues

    # Private: how a message is put back.
    def _do_restore_message(
        self,
        payload: dict[str, Any],
        _exchange: str,
        routing_key: str,
        pipe: Any,
        *leftmost: bool,
    ) -> None:
        """Put a message back into its queue, whose name is the routing key.

        kombu looks the queue up, which fails in a channel that a lost connection has closed; then
        it removes the record all the same.
        """
        payload["headers"]["redelivered"] = True
        payload["properties"]["delivery_info"]["redelivered"] = True
        # Private: the priority that its queue belongs to.
        step = self._get_message_priority(payload, reverse=False)
        push = pipe.lpush if any(leftmost) else pipe.rpush
        # Private: the name of a queue for a priority.
        push(self._q_for_pri(routing_key, step), dumps(payload))

    def take(self, queues: Iterable[str]) -> list[Any]:
        """Return the command that takes a message."""
        keys = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        keys[:0] = [self.unacked_key, self.unacked_index_key]
        return ["EVAL", TAKE, len(keys), *keys, time()]


class Transport(redis.Transport):  # type: ignore[misc]
    """kombu's transport with our channel."""

    Channel = Channel

"""RQ: the work horse, a process that runs the jobs of a worker one after the other."""

import os
import socket
from contextlib import suppress
from resource import RUSAGE_SELF, getrusage
from select import select

from ...config import Settings

# Seconds between two checks of whether the other process is running: a process that a job has
# forked may hold the connection open.
CHECK_INTERVAL = 1

# Seconds that a worker waits for the end of a process without a job.
STOP_TIMEOUT = 1


class WorkHorse:
    """A process that a worker forks, and the connection between them.

    The worker sends the key of an execution. The process sends one byte after it, or ends.
    """

    pid = 0
    is_running = False
    # The wait status of the process that has ended, if it is known.
    status: int | None = None
    jobs = 0

    def __init__(self) -> None:
        self.worker_pid = os.getpid()
        self.worker_end, self.process_end = socket.socketpair()

    def started(self, pid: int) -> None:
        """Leave one end of the connection to the process."""
        self.pid, self.is_running = pid, True
        self.process_end.close()

    def check(self) -> bool:
        """Return whether the process is running."""
        if self.is_running:
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = self.pid, None
            if ended:
                self.is_running, self.status = False, status
        return self.is_running

    def send(self, key: str) -> bool:
        """Send the next execution; return False if the process has ended."""
        # It may end at any time.
        with suppress(OSError):
            if self.check():
                # The byte after the last one.
                self.worker_end.recv(1)
                self.worker_end.sendall(key.encode())
                return True
        self.worker_end.close()
        return False

    def wait(self) -> int | None:
        """Wait for the end of the execution; return 0, or the status of the process if it ended.

        None means that the process has ended or is about to, and must be waited for. An exception
        of a signal handler may interrupt this at any point, so it reads nothing.
        """
        while not select([self.worker_end], [], [], CHECK_INTERVAL)[0]:
            if not self.check():
                return self.status
        # A process that ends before it has read everything resets the connection.
        with suppress(ConnectionResetError):
            if self.worker_end.recv(1, socket.MSG_PEEK):
                return os.EX_OK
        return None

    def stop(self) -> None:
        """End a process without a job. One with a job ends after it."""
        with suppress(OSError):
            if self.check():
                self.worker_end.shutdown(socket.SHUT_WR)
                while select([self.worker_end], [], [], STOP_TIMEOUT)[0]:
                    if not self.worker_end.recv(1):
                        break
        self.worker_end.close()

    def may_continue(self, settings: Settings) -> bool:
        """Return whether this process may run another job, by its number and its memory."""
        self.jobs += 1
        megabytes = getrusage(RUSAGE_SELF).ru_maxrss / 1024
        return (
            self.jobs < settings.WORKER_MAX_TASKS_PER_CHILD
            and megabytes < settings.WORKER_MAX_MEMORY_MB
        )

    def receive(self) -> str:
        """Report that an execution has ended; return the key of the next, or "" to end."""
        self.worker_end.close()
        # The worker may have been killed.
        with suppress(OSError):
            self.process_end.sendall(b".")
            while not select([self.process_end], [], [], CHECK_INTERVAL)[0]:
                if os.getppid() != self.worker_pid:
                    return ""
            return self.process_end.recv(1024).decode()
        return ""

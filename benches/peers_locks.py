"""G, S, M1 of multiprocessing: its locks, between forks."""

import os
import time
from multiprocessing import get_context

from peers_figures import figure, percentile

CONTEXT = get_context("fork")
BATCH = 64


def start(target, *args):
    """A process that does not outlive this one."""
    process = CONTEXT.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def repeat(count, take, let_go):
    for _ in range(count):
        take()
        let_go()


def uncontended(name, count, lock):
    take, let_go = lock.acquire, lock.release
    repeat(count // 10, take, let_go)
    begin = time.perf_counter()
    repeat(count, take, let_go)
    figure(name, (time.perf_counter() - begin) / count * 1e9, "ns")


def contend(milliseconds, lock, side):
    """One side, on a core of its own: turns by the second."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[side : side + 1] or cores)
    take, let_go = lock.acquire, lock.release

    def rate(seconds):
        begin = time.perf_counter()
        turns = 0
        while True:
            repeat(BATCH, take, let_go)
            turns += BATCH
            elapsed = time.perf_counter() - begin
            if elapsed >= seconds:
                return turns / elapsed

    rate(milliseconds / 10_000)
    return rate(milliseconds / 1000)


def contend_there(milliseconds, lock, pipe):
    pipe.send(None)
    pipe.recv()
    pipe.send(contend(milliseconds, lock, 1))


def contended(work, milliseconds, lock):
    here, there = CONTEXT.Pipe()
    process = start(contend_there, milliseconds, lock, there)
    here.recv()
    here.send(None)
    sides = [contend(milliseconds, lock, 0), here.recv()]
    process.join()
    figure(work, sum(sides), "/s")
    figure("smaller", min(sides) / sum(sides) * 100, "%")


def trips_of(count):
    return count + count // 10


def do_often(count, action):
    for _ in range(trips_of(count)):
        action()


def round_trips(work, count, here, *there):
    """Each of `there` is what another process does in a round trip."""
    processes = [start(do_often, count, action) for action in there]
    times = []
    for _ in range(trips_of(count)):
        begin = time.perf_counter()
        here()
        times.append(time.perf_counter() - begin)
    for process in processes:
        process.join()
    figure(work, percentile(times[count // 10 :], 50), "us")


def semaphores(work, count):
    ping, pong = CONTEXT.Semaphore(0), CONTEXT.Semaphore(0)

    def here():
        ping.release()
        pong.acquire()

    def there():
        ping.acquire()
        pong.release()

    round_trips(work, count, here, there)


def events(work, count):
    ping, pong = CONTEXT.Event(), CONTEXT.Event()

    def here():
        ping.set()
        pong.wait()
        pong.clear()

    def there():
        ping.wait()
        ping.clear()
        pong.set()

    round_trips(work, count, here, there)


def condition(work, count):
    condition = CONTEXT.Condition(CONTEXT.Lock())
    asked = CONTEXT.RawValue("b", 0)

    def here():
        with condition:
            asked.value = 1
            condition.notify()
            while asked.value:
                condition.wait()

    def there():
        with condition:
            while not asked.value:
                condition.wait()
            asked.value = 0
            condition.notify()

    round_trips(work, count, here, there)


def barrier(work, count):
    parties = 2 if work == "S4" else 4
    barrier = CONTEXT.Barrier(parties)
    round_trips(work, count, *[barrier.wait] * parties)


def make(count):
    def lock():
        CONTEXT.Lock()

    times = []
    for _ in range(trips_of(count)):
        begin = time.perf_counter()
        lock()
        times.append(time.perf_counter() - begin)
    figure("mutex", percentile(times[count // 10 :], 50), "us")


def run(work, count):
    if work == "G1":
        uncontended(work, count, CONTEXT.Lock())
    elif work == "G2":
        contended(work, count, CONTEXT.Lock())
    elif work == "G3":
        uncontended(work, count, CONTEXT.Semaphore(1))
    elif work == "G4":
        contended(work, count, CONTEXT.Semaphore(1))
    elif work == "G6":
        lock = CONTEXT.RLock()
        uncontended(work, count, lock)
        with lock:
            uncontended("again", count, lock)
    elif work == "M1":
        make(count)
    else:
        works = {"S1": semaphores, "S2": events, "S3": condition, "S4": barrier, "S5": barrier}
        works[work](work, count)

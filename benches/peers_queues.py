"""F of multiprocessing: its queues, between forks."""

import time
from multiprocessing import get_context

from peers_figures import figure, percentile

CONTEXT = get_context("fork")
BOUND = 1024
PAGE = 4096
LENGTHS = {"F4": 64, "F5": 1 << 10, "F6": 64 << 10, "F7": 1 << 20}
SIDES = {"F2": 2, "F3": 4}


def make(variant):
    """A SimpleQueue is bounded by its pipe only."""
    return CONTEXT.Queue(BOUND) if variant == "Queue" else CONTEXT.SimpleQueue()


def start(target, *args):
    """A process that does not outlive this one."""
    process = CONTEXT.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def produce(queue, item, end, share):
    """One part: a producer's share, and what says that nothing comes after it."""
    put = queue.put
    for _ in range(share):
        put(item)
    put(end)


def produce_beside(queue, item, end, shares, begin):
    for share in shares:
        begin.wait()
        produce(queue, item, end, share)


def consume_numbers(queue, begin, acknowledge):
    get = queue.get
    for _ in range(2):
        begin.wait()
        seen = 0
        while item := get():
            seen += item
        acknowledge.put(seen)


def consume_bytes(queue, begin, acknowledge):
    get = queue.get
    for _ in range(2):
        begin.wait()
        seen = 0
        while item := get():
            seen += sum(item[::PAGE])
        acknowledge.put(seen)


def flow(work, queue, count):
    """F1 to F7."""
    length = LENGTHS.get(work, 8)
    pages = -(-length // PAGE)
    item, end, consume = (
        (1, 0, consume_numbers) if length == 8 else (b"\1" * length, b"", consume_bytes)
    )
    sides = SIDES.get(work, 1)
    shares = [-(-part // sides) for part in (count // 8 + 1, count)]
    begin = CONTEXT.Barrier(2 * sides)
    seen = CONTEXT.SimpleQueue()
    processes = [start(consume, queue, begin, seen) for _ in range(sides)]
    for _ in range(1, sides):
        processes.append(start(produce_beside, queue, item, end, shares, begin))
    for share in shares:
        start_time = time.perf_counter()
        begin.wait()
        produce(queue, item, end, share)
        assert sum(seen.get() for _ in range(sides)) == share * sides * pages
        seconds = time.perf_counter() - start_time
    for process in processes:
        process.join()
    count = shares[1] * sides
    if length <= 64:
        figure(work, count / seconds, "/s")
    else:
        figure(work, count * length / seconds / 1e9, "GB/s")


def answer(trips, questions, answers):
    for _ in range(trips):
        answers.put(questions.get())


def round_trips(work, questions, answers, count):
    """F9, F10."""
    warmup = count // 10
    process = start(answer, count + warmup, questions, answers)
    times = []
    for _ in range(count + warmup):
        if work == "F9":
            time.sleep(0.001)
        begin = time.perf_counter()
        questions.put(1)
        answers.get()
        times.append(time.perf_counter() - begin)
    process.join()
    figure(work, percentile(times[warmup:], 50), "us")
    figure("p99", percentile(times[warmup:], 99), "us")


def alone(work, queue, count):
    """F11."""

    def repeat(count):
        for _ in range(count):
            queue.put(1)
            queue.get()

    repeat(count // 10)
    begin = time.perf_counter()
    repeat(count)
    figure(work, (time.perf_counter() - begin) / count * 1e9, "ns")


def run(work, variant, count):
    if work in ("F9", "F10"):
        round_trips(work, make(variant), make(variant), count)
    elif work == "F11":
        alone(work, make(variant), count)
    else:
        flow(work, make(variant), count)

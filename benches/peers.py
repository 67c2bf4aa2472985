"""Python's multiprocessing, as a peer: `peers.py WORK VARIANT COUNT`, as the Rust peers.

VARIANT is a start method, or for E what is sent: `values` (send) or `bytes` (send_bytes), for F the
kind of queue. B2, C, D and Iw are in `peers_pools.py`, F, G, S, M and H1 in `peers_queues.py`,
`peers_locks.py` and `peers_memory.py`, which a child that is spawned need not import.
"""

import multiprocessing
import sys
import time
from collections import deque

sys.dont_write_bytecode = True

from peers_figures import figure, percentile

AT_ONCE = 3
PAGE = 4096
LENGTHS = {"E5": 64, "E6": 1 << 10, "E7": 64 << 10, "E8": 1 << 20, "E9": 64 << 20}


def nothing():
    pass


def starts(context, work, count):
    """A1, A1s, A2, B1. Python's processes have no result."""
    ballast = bytearray(1 << 30) if work == "A2" else bytearray()
    for page in range(0, len(ballast), PAGE):
        ballast[page] = 1

    def start():
        process = context.Process(target=nothing)
        process.start()
        return process

    for _ in range(2):
        start().join()
    if work == "B1":
        running = deque()
        begin = time.perf_counter()
        for _ in range(count):
            if len(running) == AT_ONCE:
                running.popleft().join()
            running.append(start())
        while running:
            running.popleft().join()
        figure(work, count / (time.perf_counter() - begin), "/s")
        return
    times = []
    for _ in range(count):
        if work == "A1s":
            time.sleep(0.001)
        begin = time.perf_counter()
        start().join()
        times.append(time.perf_counter() - begin)
    figure(work, percentile(times, 50), "us")


def echo(pipe):
    try:
        while True:
            pipe.send(pipe.recv())
    except EOFError:
        pass


def round_trips(context, count):
    """E1, E2: three numbers, as the 24 bytes of the others."""
    here, there = context.Pipe()
    process = context.Process(target=echo, args=(there,))
    process.start()
    there.close()
    times = []
    for trip in range(count + count // 10):
        begin = time.perf_counter()
        here.send((1, 1.0, 2.0))
        here.recv()
        times.append(time.perf_counter() - begin)
    here.close()
    process.terminate()  # a forked echo holds our end, too, and would wait for ever
    process.join()
    times = times[count // 10 :]
    figure("E1", percentile(times, 50), "us")
    figure("p99", percentile(times, 99), "us")


def take(parts, receive, acknowledge):
    for part in parts:
        seen = 0
        for _ in range(part):
            seen += sum(receive()[::PAGE])
        acknowledge(seen)


def take_values(parts, messages, seen):
    take(parts, messages.recv, seen.send)


def take_bytes(parts, messages, seen):
    take(parts, messages.recv_bytes, seen.send)


def one_way(context, work, variant, count):
    length = LENGTHS[work[:2]]
    message = b"\1" * length
    parts = [count // 8 + 1, count]
    messages_there, messages = context.Pipe(duplex=False)
    seen, seen_there = context.Pipe(duplex=False)
    target, send = (
        (take_values, messages.send) if variant == "values" else (take_bytes, messages.send_bytes)
    )
    process = context.Process(target=target, args=(parts, messages_there, seen_there))
    process.start()
    for part in parts:
        begin = time.perf_counter()
        for _ in range(part):
            send(message)
        assert seen.recv() == part * -(-length // PAGE)
        seconds = time.perf_counter() - begin
    process.join()
    if length == 64:
        figure(work, count / seconds, "/s")
    else:
        figure(work, count * length / seconds / 1e9, "GB/s")


def wait_for_end(pipe):
    pipe.send(None)
    pipe.recv()


def idle(context):
    here, there = context.Pipe()
    process = context.Process(target=wait_for_end, args=(there,))
    process.start()
    here.recv()
    fields = {}
    with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in list(rollup)[1:]:
            name, kib, *_ = line.split()
            fields[name] = int(kib)
    here.send(None)
    process.join()
    figure("rss", fields["Rss:"], "KiB")
    figure("pss", fields["Pss:"], "KiB")
    figure("private", fields["Private_Clean:"] + fields["Private_Dirty:"], "KiB")


def main():
    work, variant, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if work == "E1":
        round_trips(multiprocessing.get_context("fork"), count)
    elif work.startswith("E"):
        one_way(multiprocessing.get_context("fork"), work, variant, count)
    elif work[0] in "CD" or work in ("B2", "Iw"):
        import peers_pools

        peers_pools.run(work, variant, count)
    elif work.startswith("F"):
        import peers_queues

        peers_queues.run(work, variant, count)
    elif variant == "locks":
        import peers_locks

        peers_locks.run(work, count)
    elif work[0] in "MH":
        import peers_memory

        peers_memory.run(work, variant, count)
    elif work == "I":
        idle(multiprocessing.get_context(variant))
    else:
        starts(multiprocessing.get_context(variant), work, count)


if __name__ == "__main__":
    sys.exit(main())

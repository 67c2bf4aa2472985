"""B2, C, D, Iw: Python's pools. VARIANT is `pool-` and a start method for multiprocessing's `Pool`,
`futures`, `loky` or `mpire`."""

import multiprocessing
import os
import sys
import time

from peers_figures import figure, percentile

WORKERS = 2
FRESH = 3
LONG = 100
LEN = 12_500_000
REST = 0.02
FOR = 0.3
AT_MOST = 200


def square(x):
    return x * x & 0xFFFF_FFFF_FFFF_FFFF


def nap(millis):
    time.sleep(millis / 1000)


def pid():
    return os.getpid()


def add_up(numbers):
    return numbers.sum()


kept = []


def make_numbers():
    """C6: in a worker, before the clock starts."""
    import numpy

    kept.append(numpy.arange(LEN) % 8.0)


def take_numbers():
    return kept.pop()


class Pool:
    """multiprocessing's."""

    def __init__(self, method, workers, fresh):
        context = multiprocessing.get_context(method)
        self.pool = context.Pool(workers, maxtasksperchild=1 if fresh else None)

    def apply(self, function, *arguments):
        return self.pool.apply(function, arguments)

    def map(self, function, values, chunk=None):
        return self.pool.map(function, values, chunk)

    def end(self):
        self.pool.terminate()


class Futures:
    """concurrent.futures'. Its map has chunks of 1 by default; who has 100,000 tasks asks for more."""

    def __init__(self, workers, fresh):
        from concurrent.futures import ProcessPoolExecutor

        # With workers for a number of tasks it does not fork.
        context = multiprocessing.get_context("forkserver" if fresh else "fork")
        self.workers = workers
        self.pool = ProcessPoolExecutor(
            workers, mp_context=context, max_tasks_per_child=1 if fresh else None
        )

    def apply(self, function, *arguments):
        return self.pool.submit(function, *arguments).result()

    def map(self, function, values, chunk=None):
        chunk = chunk or max(len(values) // (4 * self.workers), 1)
        return list(self.pool.map(function, values, chunksize=chunk))

    def end(self):
        self.pool.shutdown()


class Loky(Futures):
    """The same interface."""

    def __init__(self, workers, fresh):
        assert not fresh, "it has no such workers"
        try:
            from loky import ProcessPoolExecutor
        except ImportError:
            sys.exit("there is no loky")
        self.workers = workers
        self.pool = ProcessPoolExecutor(workers)


class Mpire:
    """mpire's, with forks, which is its default."""

    def __init__(self, workers, fresh):
        try:
            from mpire import WorkerPool
        except ImportError:
            sys.exit("there is no mpire")
        self.pool = WorkerPool(workers, keep_alive=True)
        self.lifespan = 1 if fresh else None

    def apply(self, function, *arguments):
        return self.pool.apply(function, arguments)

    def map(self, function, values, chunk=None):
        return self.pool.map(function, values, chunk_size=chunk, worker_lifespan=self.lifespan)

    def end(self):
        self.pool.terminate()


def make(variant, workers, fresh=False):
    if variant == "futures":
        return Futures(workers, fresh)
    if variant == "loky":
        return Loky(workers, fresh)
    if variant == "mpire":
        return Mpire(workers, fresh)
    return Pool(variant.removeprefix("pool-"), workers, fresh)


def maps(work, pool, count):
    """C1, C2: again and again, as the others; B2: once."""
    right = sum(map(square, range(count)))
    chunk = None if work == "C1" else 1

    def once():
        begin = time.perf_counter()
        squares = pool.map(square, range(count), chunk)
        seconds = time.perf_counter() - begin
        assert sum(squares) == right
        return seconds

    times = []
    if work != "B2":
        once()
    begin = time.perf_counter()
    while True:
        times.append(once())
        if work == "B2" or time.perf_counter() - begin >= FOR or len(times) == AT_MOST:
            break
    figure(work, count / percentile(times, 50) * 1e6, "/s")


def efficiency(work, pool, count):
    """C3, C4: with chunks of 1, which suit it best."""
    pool.map(nap, [1] * (2 * WORKERS), 1)

    def one(name, naps):
        ideal = max(sum(naps) / WORKERS, max(naps)) / 1000
        begin = time.perf_counter()
        pool.map(nap, naps, 1)
        figure(name, ideal / (time.perf_counter() - begin), "")

    if work == "C3":
        one(work, [10] * count)
        return
    for name, place in ("first", 0), ("middle", count // 2), ("last", count):
        naps = [1] * count
        naps.insert(place, LONG)
        one(name, naps)


def large(work, pool, count):
    """C5: numbers to a worker, their sum back; C6: numbers from a worker, summed here."""
    try:
        import numpy
    except ImportError:
        sys.exit("there is no numpy")
    numbers = numpy.arange(LEN) % 8.0
    right = float(sum(range(8)) * (LEN // 8) + sum(range(LEN % 8)))
    times = []
    for _ in range(count + 1):
        if work == "C6":
            pool.apply(make_numbers)
        time.sleep(REST)
        begin = time.perf_counter()
        if work == "C5":
            total = pool.apply(add_up, numbers)
        else:
            taken = pool.apply(take_numbers)
            total = taken.sum()
        times.append(time.perf_counter() - begin)
        assert total == right
    figure(work, percentile(times[1:], 50) / 1e3, "ms")


def idle(pool):
    """Iw: a worker that has done a task and waits for the next."""
    worker = pool.apply(pid)
    time.sleep(0.02)
    fields = {}
    with open(f"/proc/{worker}/smaps_rollup", encoding="ascii") as rollup:
        for line in list(rollup)[1:]:
            name, kib, *_ = line.split()
            fields[name] = int(kib)
    figure("rss", fields["Rss:"], "KiB")
    figure("pss", fields["Pss:"], "KiB")
    figure("private", fields["Private_Clean:"] + fields["Private_Dirty:"], "KiB")


def single(work, pool, count):
    """D1, D2, D3."""
    warmup = count // 10
    times = []
    for x in range(count + warmup):
        if work == "D3":
            time.sleep(0.001)
        begin = time.perf_counter()
        result = pool.apply(square, x)
        times.append(time.perf_counter() - begin)
        assert result == square(x)
    figure(work, percentile(times[warmup:], 50), "us")
    figure("p99", percentile(times[warmup:], 99), "us")


def run(work, variant, count):
    workers = {"B2": FRESH, "C5": 1, "C6": 1}.get(work, WORKERS)
    pool = make(variant, workers, fresh=work == "B2")
    if work in ("B2", "C1", "C2"):
        maps(work, pool, count)
    elif work in ("C3", "C4"):
        efficiency(work, pool, count)
    elif work in ("C5", "C6"):
        large(work, pool, count)
    elif work == "Iw":
        idle(pool)
    else:
        single(work, pool, count)
    pool.end()

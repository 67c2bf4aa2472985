"""M, H1 of multiprocessing: shared memory, and 100 MB of numbers to a forked worker."""

import sys
import time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

from peers_figures import figure, percentile
from peers_locks import CONTEXT, start, trips_of

SEGMENT = 4096
LEN = 12_500_000
REST = 0.02


def make(count):
    times = []
    for _ in range(trips_of(count)):
        begin = time.perf_counter()
        segment = SharedMemory(create=True, size=SEGMENT)
        segment.buf[0] = 1
        segment.close()
        segment.unlink()
        times.append(time.perf_counter() - begin)
    figure("segment", percentile(times[count // 10 :], 50), "us")


def map_segments(count, segments, words):
    times = []
    for _ in range(trips_of(count)):
        words.recv()
        begin = time.perf_counter()
        segment = segments.recv()
        assert segment.buf[0] == 1
        times.append(time.perf_counter() - begin)
        segment.close()
        words.send(None)
    words.send(percentile(times[count // 10 :], 50))


def hand_over_segments(work, count):
    """M2: new segments; M2s: the same one again and again."""
    segments_there, segments = CONTEXT.Pipe(duplex=False)
    words, words_there = CONTEXT.Pipe()
    same = SharedMemory(create=True, size=SEGMENT)
    same.buf[0] = 1
    process = start(map_segments, count, segments_there, words_there)
    for _ in range(trips_of(count)):
        segment = same
        if work == "M2":
            segment = SharedMemory(create=True, size=SEGMENT)
            segment.buf[0] = 1
        segments.send(segment)
        words.send(None)
        words.recv()
        if segment is not same:
            segment.close()
            segment.unlink()
    figure("segment", words.recv(), "us")
    process.join()
    same.close()
    same.unlink()


def numbers_in(numpy, segment):
    return numpy.ndarray(LEN, dtype=numpy.float64, buffer=segment.buf)


def sum_pickled(count, pipe):
    for _ in range(count + 1):
        numbers = pipe.recv()
        pipe.send(numbers.sum())


def sum_shared(count, pipe):
    import numpy

    for _ in range(count + 1):
        segment = pipe.recv()
        numbers = numbers_in(numpy, segment)
        pipe.send(numbers.sum())
        del numbers
        segment.close()


def hand_over(variant, count):
    try:
        import numpy
    except ImportError:
        sys.exit("there is no numpy")
    numbers = numpy.arange(LEN) % 8.0
    right = float(sum(range(8)) * (LEN // 8) + sum(range(LEN % 8)))
    pipe, there = CONTEXT.Pipe()
    worker = start(sum_pickled if variant == "pickled" else sum_shared, count, there)

    def copied():
        segment = SharedMemory(create=True, size=numbers.nbytes)
        numbers_in(numpy, segment)[:] = numbers
        return segment

    times = []
    for _ in range(count + 1):
        # What is sent: made before the clock starts, or while it runs.
        sent = copied() if variant == "born" else numbers
        time.sleep(REST)
        begin = time.perf_counter()
        if variant == "copied":
            sent = copied()
        pipe.send(sent)
        total = pipe.recv()
        times.append(time.perf_counter() - begin)
        assert total == right
        if sent is not numbers:
            sent.close()
            sent.unlink()
    worker.join()
    figure("H1", percentile(times[1:], 50) / 1e3, "ms")


def run(work, variant, count):
    resource_tracker.ensure_running()  # forks share it, or each would clean up after the other
    if work == "M1":
        make(count)
    elif work == "H1":
        hand_over(variant, count)
    else:
        hand_over_segments(work, count)

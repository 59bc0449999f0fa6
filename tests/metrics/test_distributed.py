"""Two processes give exactly the numbers of one."""

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from segedu.engine.distributed import merged
from tests.metrics.every_metric import METRICS, images, same, seen


def fill(numbers):
    """Every metric, having seen some of six images."""
    pairs = {name: images(name, seed=0, count=6) for name in METRICS}
    return {name: seen(name, *([pairs[name][i]] for i in numbers)) for name in METRICS}


def worker(rank, file, queue):
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    shares = [(0, 1, 2, 3), (4, 5)]
    results = {name: merged(metric).compute() for name, metric in fill(shares[rank]).items()}
    expected = {name: metric.compute() for name, metric in fill(range(6)).items()}
    queue.put([name for name in results if not same(results[name], expected[name])])
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_gloo_processes_give_exactly_the_numbers_of_one(tmp_path):
    """Starts two processes, forked from one that imports torch once."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    queue = context.SimpleQueue()
    arguments = (tmp_path / "store", queue)
    mp.start_processes(worker, arguments, nprocs=2, start_method="forkserver")
    assert [queue.get(), queue.get()] == [[], []]

from collections.abc import Iterator

import pytest
from distributed import Client

from curator_sdg.backend import ClusterSpec, start_cluster


@pytest.fixture(scope="package")
def client() -> Iterator[Client]:
    with start_cluster(ClusterSpec(cpu_workers=2, teacher_threads=4, memory_limit="2 GiB")) as client:
        yield client

"""Endpoints that come and go: the file that their servers write."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherFailing
from curator_sdg.teacher import Dispatcher
from curator_sdg.teacher.endpoint.addresses import EndpointsFile
from curator_sdg.teacher.endpoint.endpoint import EndpointTeacher
from tests.endpoint import Endpoint, running_endpoint
from tests.runs import wait_until
from tests.teacher.requests import MODEL, completions, make_requests


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_sdg.teacher.endpoint.endpoint._READ_EVERY_S", 0.02)


@pytest.fixture
def told() -> Iterator[list[str]]:
    messages: list[str] = []
    handle = logger.add(lambda message: messages.append(str(message)), level="WARNING", format="{message}")
    yield messages
    logger.remove(handle)


def test_a_file_holds_addresses_comments_and_empty_lines(tmp_path: Path, told: list[str]) -> None:
    path = tmp_path / "endpoints"
    path.write_text("# node 1\nhttp://one:8000/v1/\n\n  https://two/v1  \nhttp://one:8000/v1\n")
    assert EndpointsFile(path).read() == ["http://one:8000/v1", "https://two/v1"]
    assert not told


def test_a_bad_line_is_told_once_and_passed_over(tmp_path: Path, told: list[str]) -> None:
    path = tmp_path / "endpoints"
    path.write_bytes(b"one:8000\nhttp://two/v1\nhttp://user:secret@three/v1\n\xff\n")
    file = EndpointsFile(path)
    for _ in range(3):
        assert file.read() == ["http://two/v1"]
    assert len(told) == 3
    assert "line 1 is passed over: 'one:8000' is no http(s) address" in told[0]
    assert "line 3" in told[1]
    assert "secret" not in "".join(told)


def test_a_file_that_is_not_there_yet_has_no_addresses(tmp_path: Path, told: list[str]) -> None:
    file = EndpointsFile(tmp_path / "later")
    assert file.read() == []
    (tmp_path / "later").write_text("http://one/v1\n")
    assert file.read() == ["http://one/v1"]
    assert not told


def test_a_shared_folder_that_cannot_be_read_keeps_the_addresses_that_it_had(tmp_path: Path, told: list[str]) -> None:
    folder, link = tmp_path / "shared", tmp_path / "link"
    folder.mkdir()
    (folder / "node.txt").write_text("http://one/v1\n")
    link.symlink_to(folder)
    file = EndpointsFile(link)
    assert file.read() == ["http://one/v1"]
    link.unlink()
    link.symlink_to("x" * 300)  # the system refuses to look at so long a name, as at a network disk that is away
    assert [file.read(), file.read()] == [["http://one/v1"]] * 2
    assert EndpointsFile(link).read() == []
    assert f"{link}: cannot be read (File name too long); the endpoints stay as they are\n" in told
    (folder / "node.txt").write_text("http://two/v1\n")
    link.unlink()
    link.symlink_to(folder)
    assert file.read() == ["http://two/v1"]


def test_a_file_that_cannot_be_read_keeps_the_addresses_that_it_had(tmp_path: Path, told: list[str]) -> None:
    path = tmp_path / "endpoints"
    path.write_text("http://one/v1\n")
    file = EndpointsFile(path)
    assert file.read() == ["http://one/v1"]
    path.unlink()
    path.symlink_to(path)
    assert [file.read(), file.read()] == [["http://one/v1"]] * 2
    assert len(told) == 1
    assert "cannot be read" in told[0]


def asking(path: Path, **changes: Any) -> Dispatcher:
    config = TeacherSection(model=MODEL, endpoints_file=path, **{"max_in_flight": 4} | changes)
    return Dispatcher(EndpointTeacher(config), config, backoff_s=0.01)


def write(path: Path, *endpoints: Endpoint | str) -> None:
    lines = [endpoint if isinstance(endpoint, str) else endpoint.url for endpoint in endpoints]
    path.write_text("".join(f"{line}\n" for line in lines))


def asked(endpoint: Endpoint) -> int:
    return len(endpoint.stats()["asked"])


def test_without_an_address_requests_wait_for_one(tmp_path: Path) -> None:
    path = tmp_path / "endpoints"
    with asking(path) as dispatcher, ThreadPoolExecutor(1) as threads, running_endpoint() as endpoint:
        future = threads.submit(dispatcher.complete, make_requests(10))
        wait_until(lambda: dispatcher.progress.queued == 10)
        write(path, endpoint)
        assert len(completions(future.result(60))) == 10


def test_one_that_joins_is_asked_too_and_one_that_leaves_no_more(tmp_path: Path) -> None:
    path = tmp_path / "endpoints"
    with running_endpoint() as one, running_endpoint() as two, asking(path) as dispatcher:
        write(path, one)
        assert len(completions(dispatcher.complete(make_requests(20)))) == 20
        assert (asked(one), asked(two), dispatcher.progress.limit) == (20, 0, 4)
        write(path, one, two)
        wait_until(lambda: dispatcher.progress.endpoints == 2)
        assert len(completions(dispatcher.complete(make_requests(40, first=20)))) == 40
        assert asked(two) > 10
        write(path, two)
        wait_until(lambda: dispatcher.progress.endpoints == 1)
        before = asked(one)
        assert len(completions(dispatcher.complete(make_requests(40, first=60)))) == 40
        assert asked(one) == before


def test_addresses_of_the_configuration_stay_whatever_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "endpoints"
    with running_endpoint() as one, running_endpoint() as two:
        write(path, two, one)
        with asking(path, base_urls=(one.url,)) as dispatcher:
            assert len(completions(dispatcher.complete(make_requests(20)))) == 20
            assert dispatcher.progress.endpoints == 2
            path.unlink()
            wait_until(lambda: dispatcher.progress.endpoints == 1)
            assert len(completions(dispatcher.complete(make_requests(20, first=20)))) == 20
        assert asked(one) >= 20


@pytest.mark.parametrize(
    ("options", "message"),
    [({"model": "another"}, "has no model 'test-model'; it has another"), ({"key": "sk-1"}, "asks for a key")],
)
def test_one_that_cannot_be_used_is_told_once_and_the_others_go_on(
    tmp_path: Path, told: list[str], options: dict[str, str], message: str
) -> None:
    path = tmp_path / "endpoints"
    with running_endpoint(**options) as bad, running_endpoint() as good:
        write(path, bad, good)
        with asking(path) as dispatcher:
            for i in range(3):
                assert len(completions(dispatcher.complete(make_requests(20, first=20 * i)))) == 20
                wait_until(lambda: dispatcher.progress.endpoints == 1)
    assert len(told) == 1
    assert message in told[0]


def test_one_that_starts_later_than_it_is_written_joins_then(tmp_path: Path, told: list[str]) -> None:
    path = tmp_path / "endpoints"
    with running_endpoint() as endpoint, asking(path) as dispatcher, ThreadPoolExecutor(1) as threads:
        endpoint.stop()
        write(path, endpoint)
        future = threads.submit(dispatcher.complete, make_requests(5))
        wait_until(lambda: bool(told))
        endpoint.start()
        assert len(completions(future.result(60))) == 5
    assert "cannot be reached" in told[0]


@pytest.mark.parametrize(("lines", "reason"), [((), "names no address"), (("http://localhost:1/v1",), "localhost:1")])
def test_when_none_comes_the_asking_ends_with_the_reason(tmp_path: Path, lines: tuple[str, ...], reason: str) -> None:
    path = tmp_path / "endpoints"
    write(path, *lines)
    with asking(path, patience_s=0.3) as dispatcher, pytest.raises(TeacherFailing, match=reason):
        dispatcher.complete(make_requests(5))

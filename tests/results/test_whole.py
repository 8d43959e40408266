"""Files that are whole or not there, whoever is killed while writing and whatever lies in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.results.whole import create, put

HELD = """
import sys, time
from pathlib import Path
from harness.results import whole
with whole._held(Path(sys.argv[1])) as handle:
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_is_there_is_replaced_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    for content in (b"first, longer", b"second"):
        put(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    (tmp_path / ".page.html.part").write_bytes(b"half of something that was much longer")
    put(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_living_writer_is_waited_for_and_a_killed_one_is_not(tmp_path: Path) -> None:
    part = tmp_path / ".page.html.part"
    code = "import sys; from pathlib import Path; from harness.results.whole import put; put(Path(sys.argv[1]), b'two')"
    with subprocess.Popen([sys.executable, "-c", HELD, str(part)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        second = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "page.html")])
        time.sleep(0.5)
        assert second.poll() is None
        first.send_signal(signal.SIGKILL)
    assert second.wait(timeout=30) == 0
    assert (tmp_path / "page.html").read_bytes() == b"two"


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_link_that_waits_there_is_not_written_through(tmp_path: Path, kind: str) -> None:
    precious, part = tmp_path / "precious", tmp_path / ".page.html.part"
    precious.write_bytes(b"mine")
    part.symlink_to(precious) if kind == "symlink" else part.hardlink_to(precious)
    put(tmp_path / "page.html", b"page")
    assert (precious.read_bytes(), (tmp_path / "page.html").read_bytes()) == (b"mine", b"page")


def test_a_pipe_or_a_folder_in_the_way_is_an_error_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".a.part")
    (tmp_path / ".b.part").mkdir()
    for name in ("a", "b"):
        with pytest.raises(OSError):
            put(tmp_path / name, b"x")


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    code = (
        "import resource, sys; from pathlib import Path; from harness.results.whole import put\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: put(Path(sys.argv[1]), b'x' * 100)\n"
        "except OSError as error: print(error.strerror)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("page.html", b"old")]


def test_of_many_that_create_a_file_one_wins_and_none_of_the_others_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    contents = [bytes([65 + number]) * 5000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda content: create(path, content), contents))
    assert made.count(True) == 1
    assert path.read_bytes() == contents[made.index(True)]
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_a_creator_killed_after_its_last_act_but_one_has_made_a_file_that_stays(tmp_path: Path) -> None:
    """The part is a second name of the file then, and whoever writes next must not write through it."""
    path = tmp_path / "record.json"
    assert create(path, b"first")
    os.link(path, tmp_path / ".record.json.part")
    assert not create(path, b"second")
    other = tmp_path / "other"
    os.link(path, other)
    put(path, b"third")
    assert (path.read_bytes(), other.read_bytes()) == (b"third", b"first")

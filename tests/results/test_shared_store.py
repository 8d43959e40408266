"""The shared store: the same promises in a folder, in memory and on an S3 server, and one line where it cannot be used.

The server is a real one on loopback, spoken to by the real client over HTTP, with its endpoint and credentials given
in the environment as users give them. What is written is looked at past the store: as files, and in the server.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from harness.results import remote
from harness.results.nights import Night, night_of
from harness.results.places import Folder
from harness.results.record import NewerFormat, blank
from harness.results.shared import SharedStore
from harness.results.store import Store

MACHINE, OTHER = "a1b2c3d4e5f6", "0f0f0f0f0f0f"
Made = tuple[Night, dict[str, bytes]]


def made(day: int, installation: str = MACHINE, *, suite: str = "s", value: float = 1.0, steps: int = 3) -> Made:
    """A night with its records as they lie in a results folder: ``day`` days after the first of January."""
    records = []
    for number in range(steps):
        job = {"step": f"{number:016x}", "attempt": day, "suite": suite, "operation": "eval", "coordinates": {}}
        record: dict[str, Any] = blank(job, "done")
        record["started"] = f"2026-{1 + day // 28:02}-{1 + day % 28:02}T03:00:0{number}.000Z"
        record["environment"] |= {"installation": installation, "hard_id": "h", "hard": {"cpu": "x"}}
        record["metrics"] = {"loss": value}
        records.append(record)
    return night_of(records), {one["record"]: json.dumps(one).encode() for one in records}


@dataclass
class Ground:
    """Where a store lies, and a way to its files that is not the store's own."""

    url: str
    write: Callable[[str, bytes], None]
    files: Callable[[], dict[str, bytes]]


def folder_ground(root: Path) -> Ground:
    def write(path: str, content: bytes) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    def files() -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    return Ground(str(root), write, files)


def memory_ground() -> Ground:
    import fsspec

    client = fsspec.filesystem("memory")
    if client.exists("/kept"):
        client.rm("/kept", recursive=True)

    def files() -> dict[str, bytes]:
        return {path.removeprefix("/kept/"): client.cat_file(path) for path in client.find("/kept")}

    return Ground("memory://kept", lambda path, content: client.pipe_file(f"/kept/{path}", content), files)


@dataclass
class Server:
    """An S3 server with one empty bucket, an administrator's clients for it, and what it holds in its own memory."""

    endpoint: str
    bucket: str
    s3: Any
    iam: Any
    held: Any
    checking: bool = False

    def ground(self) -> Ground:
        def files() -> dict[str, bytes]:
            keys = self.held.get_bucket(self.bucket).keys
            return {key.removeprefix("nightly/"): keys[key].value for key in keys}

        def write(path: str, content: bytes) -> None:
            self.held.put_object(self.bucket, f"nightly/{path}", content)

        return Ground(f"s3://{self.bucket}/nightly", write, files)

    def check_credentials(self, on: bool) -> None:
        """Whether the server verifies signatures and policies, which it does not at first."""
        self.checking, count = on, b"0" if on else b"inf"
        call = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", count, {"Content-Type": "text/plain"})
        urllib.request.urlopen(call).read()

    def key_of_user(self, *actions: str) -> dict[str, str]:
        """The environment of a new user who may do these things alone."""
        name = f"user{len(self.iam.list_users()['Users'])}"
        self.iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@pytest.fixture(scope="module")
def quick_clients() -> Iterator[None]:
    """Botocore reads its description of S3 once instead of for every client: that would be half of the time here."""
    from botocore.loaders import JSONFileLoader

    read = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture(scope="module")
def running(quick_clients: None) -> Iterator[Server]:
    import boto3
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    key = {"aws_access_key_id": "admin", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    s3, iam = (boto3.client(service, endpoint_url=endpoint, **key) for service in ("s3", "iam"))
    yield Server(endpoint, "", s3, iam, s3_backends[DEFAULT_ACCOUNT_ID]["aws"])
    server.stop()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    set_up_s3(monkeypatch, running.endpoint)
    found = dataclasses.replace(running, bucket=f"bucket-{len(running.held.buckets)}")
    found.s3.create_bucket(Bucket=found.bucket)
    yield found
    if found.checking:
        found.check_credentials(False)


def set_up_s3(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["folder", "memory", "s3"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    if request.param == "folder":
        return folder_ground(tmp_path / "store")
    return memory_ground() if request.param == "memory" else request.getfixturevalue("server").ground()


def names(store: SharedStore, suite: str = "s") -> list[str]:
    return [night.name for night in store.nights(suite).nights]


class TestEveryPlace:
    def test_what_is_put_is_found_by_another_machine(self, ground: Ground, tmp_path: Path) -> None:
        first, second, other = made(1), made(2, value=0.5), made(3, OTHER, suite="t")
        file = tmp_path / "record.json"
        file.write_bytes(second[1].popitem()[1])
        last = json.loads(file.read_text())["record"]
        store = SharedStore(ground.url)
        store.put(second[0], second[1] | {last: file})
        store.put(*first)
        store.put(*other)
        seen = SharedStore(ground.url)
        assert seen.suites() == ["s", "t"]
        found = seen.nights("s")
        assert [night.to_dict() for night in found.nights] == [first[0].to_dict(), second[0].to_dict()]
        assert found.unreadable == []
        assert seen.latest("s", MACHINE) == found.nights[1]
        assert seen.latest("s", OTHER) is None
        assert seen.latest("t", OTHER).to_json() == other[0].to_json()
        assert ground.files() == {
            f"s/nights/{first[0].name}.json": first[0].to_json().encode(),
            f"s/nights/{second[0].name}.json": second[0].to_json().encode(),
            f"t/nights/{other[0].name}.json": other[0].to_json().encode(),
            **{f"s/{MACHINE}/{name}.json": content for name, content in {**first[1], **second[1]}.items()},
            f"s/{MACHINE}/{last}.json": file.read_bytes(),
            **{f"t/{OTHER}/{name}.json": content for name, content in other[1].items()},
        }

    def test_an_empty_store_is_no_error_and_the_probe_leaves_nothing(self, ground: Ground) -> None:
        store = SharedStore(ground.url)
        assert store.suites() == [] and store.nights("s").nights == [] and store.latest("s", MACHINE) is None
        store.check_writable()
        assert ground.files() == {}

    def test_a_stopped_put_leaves_no_night_and_is_completed_by_the_next(
        self, ground: Ground, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        night, records = made(1)
        store = SharedStore(ground.url)
        create = store._place.create

        def stop_before_the_night(files: dict[str, bytes]) -> list[str]:
            if any("/nights/" in path for path in files):
                raise KeyboardInterrupt
            return create(files)

        monkeypatch.setattr(store._place, "create", stop_before_the_night)
        with pytest.raises(KeyboardInterrupt):
            store.put(night, records)
        assert len(ground.files()) == len(records)
        again = SharedStore(ground.url)
        assert again.nights("s").nights == [] and again.suites() == []
        again.put(night, records)
        assert names(again) == [night.name]
        assert len(ground.files()) == len(records) + 1

    def test_a_repeated_put_is_harmless_and_other_content_is_refused(self, ground: Ground) -> None:
        night, records = made(1)
        store = SharedStore(ground.url)
        store.put(night, records)
        before = ground.files()
        store.put(night, records)
        changed_record = dict.fromkeys(records, b"{}")
        with pytest.raises(StoreError, match=f"other content in s/{MACHINE}/.* already") as error:
            store.put(night, changed_record)
        assert "\n" not in str(error.value)
        changed_night, _ = made(1, value=2.0)
        with pytest.raises(StoreError, match=f"other content in s/nights/{night.name}.json already"):
            store.put(changed_night, records)
        assert ground.files() == before

    def test_two_writers_at_once(self, ground: Ground) -> None:
        own = [[made(day, machine) for day in range(1, 4)] for machine in (MACHINE, OTHER)]
        both = made(9)
        start = threading.Barrier(2)

        def write(nights: list[Made]) -> None:
            store = SharedStore(ground.url)
            start.wait()
            for night, records in [*nights, both]:
                store.put(night, records)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, own))
        everything = [*own[0], *own[1], both]
        assert sorted(names(SharedStore(ground.url))) == sorted(night.name for night, _ in everything)
        expected = {f"s/{night.installation}/{name}.json": c for night, all_ in everything for name, c in all_.items()}
        expected |= {f"s/nights/{night.name}.json": night.to_json().encode() for night, _ in everything}
        assert ground.files() == expected

    def test_two_hundred_nights_are_read_in_order(self, ground: Ground) -> None:
        nights = [made(day, steps=1)[0] for day in range(200)]
        for night in reversed(nights):
            ground.write(f"s/nights/{night.name}.json", night.to_json().encode())
        found = SharedStore(ground.url).nights("s")
        assert [night.to_dict() for night in found.nights] == [night.to_dict() for night in nights]
        assert found.unreadable == []

    def test_what_is_no_night_is_named_with_its_reason(self, ground: Ground) -> None:
        night, records = made(1)
        store = SharedStore(ground.url)
        store.put(night, records)
        text = night.to_json().encode()
        for name, content in {
            "README.txt": b"not asked", ".hidden.json": b"{", "deeper/x.json": b"{",
            "cut.json": text[:100], "latin.json": b"\xff\xfe", "list.json": b"[]",
            "lacking.json": b'{"format": 1}', "moved.json": text, "odd [1].json": text,
        }.items():  # fmt: skip
            ground.write(f"s/nights/{name}", content)
        ground.write("t/nights/other.json", text)
        found = store.nights("s")
        assert [one.name for one in found.nights] == [night.name]
        told = {
            "cut.json": "not valid JSON", "latin.json": "not valid JSON", "list.json": "not a night",
            "lacking.json": "lacks night, suite", "moved.json": f"it is night {night.name}",
            "odd [1].json": "not named",
        }  # fmt: skip
        assert len(found.unreadable) == len(told)
        for name, reason in told.items():
            assert [line for line in found.unreadable if f"s/nights/{name}" in line and reason in line], name

    def test_a_newer_night_stops_the_reading(self, ground: Ground) -> None:
        store = SharedStore(ground.url)
        night, records = made(1)
        store.put(night, records)
        newer, _ = made(2)
        ground.write(f"s/nights/{newer.name}.json", newer.to_json().replace('"format": 1', '"format": 2').encode())
        with pytest.raises(NewerFormat, match=f"s/nights/{newer.name}.json has format 2"):
            store.nights("s")

    def test_the_latest_readable_night_is_taken(self, ground: Ground) -> None:
        store = SharedStore(ground.url)
        for day in (1, 2):
            store.put(*made(day))
        ground.write(f"s/nights/{made(3)[0].name}.json", b"{")
        assert store.latest("s", MACHINE) == made(2)[0]

    def test_a_night_without_all_its_records_is_refused(self, ground: Ground) -> None:
        night, records = made(1)
        gone = sorted(records)[0]
        with pytest.raises(StoreError, match=f"names record {gone}, which was not given"):
            SharedStore(ground.url).put(night, {name: one for name, one in records.items() if name != gone})
        assert ground.files() == {}

    def test_no_name_leads_out_of_the_store(self, ground: Ground) -> None:
        night, records = made(1)
        store = SharedStore(ground.url)
        for name in ("../../outside", "a/b", ".hidden", ""):
            with pytest.raises(StoreError, match="cannot be a file's name"):
                store.put(night, {**records, name: b"x"})
            with pytest.raises(StoreError, match="cannot be a file's name"):
                store.put(made(1, name)[0], records)
        assert ground.files() == {}


class TestFolder:
    def test_a_results_folder_is_a_store(self, tmp_path: Path) -> None:
        results = Store(tmp_path)
        night, records = made(1, results.installation)
        for content in records.values():
            results.write_record(json.loads(content))
        paths = {path.stem: path for path in results.folder("s").iterdir()}
        for store in (SharedStore(tmp_path), SharedStore(tmp_path), SharedStore(f"file://{tmp_path}")):
            store.put(night, paths)
            assert store.nights("s").nights == [night] and store.suites() == ["s"]
        assert [one["record"] for one in results.records("s").records] == sorted(records)
        assert results.records("s").quarantined == []

    def test_the_forms_of_a_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        night, records = made(1)
        for url, folder in {
            "relative/store": "relative/store", "~/store": "home/store", f"file://{tmp_path}/a%20b": "a b",
            f"FILE://localhost{tmp_path}/c": "c", "./d:e": "d:e",
        }.items():  # fmt: skip
            SharedStore(url).put(night, records)
            assert (tmp_path / folder / "s" / "nights" / f"{night.name}.json").is_file(), url
        SharedStore(Path("x:y@z")).put(night, records)
        assert (tmp_path / "x:y@z" / "s").is_dir(), "a Path is a path"

    def test_of_many_writers_of_one_file_one_wins(self, tmp_path: Path) -> None:
        for turn in range(20):
            start, path = threading.Barrier(8), f"race{turn}"

            def write(number: int, start: threading.Barrier = start, path: str = path) -> list[str]:
                start.wait()
                return Folder(tmp_path).create({path: b"%d" % number})

            with ThreadPoolExecutor(8) as pool:
                there = list(pool.map(write, range(8)))
            winners = [number for number, paths in enumerate(there) if not paths]
            assert [b"%d" % number for number in winners] == [(tmp_path / path).read_bytes()]
        assert len(list(tmp_path.iterdir())) == 20, "nothing else is left"

    def test_a_file_system_without_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        night, records = made(1)
        SharedStore(tmp_path).put(night, records)
        SharedStore(tmp_path).put(night, records)
        assert len(folder_ground(tmp_path).files()) == len(records) + 1

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "nights").write_text("")
        night, records = made(1)
        for url, act in [
            (tmp_path / "file", SharedStore.check_writable),
            (tmp_path / "file" / "deeper", SharedStore.check_writable),
            (tmp_path / "file", SharedStore.suites),
            (tmp_path, lambda store: store.nights("s")),
            (tmp_path, lambda store: store.put(night, records)),
        ]:
            with pytest.raises(StoreError, match="a file where a folder should be") as error:
                act(SharedStore(url))
            assert str(error.value).startswith(f"results store {url} cannot be ")

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        places = [Path("/proc/store"), Path("/sys/store")]
        if os.geteuid() != 0:
            tmp_path.chmod(0o500)
            places.append(tmp_path / "store")
        for place in places:
            with pytest.raises(StoreError, match=r"results store .* cannot be written: "):
                SharedStore(place).check_writable()

    def test_a_full_disk_leaves_no_half_file(self, tmp_path: Path) -> None:
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "from harness.results.shared import SharedStore; from harness.errors import StoreError\n"
            "store = SharedStore(sys.argv[1])\n"
            "for act in (store.check_writable, lambda: store._place.create({'a': bytes(2000)})):\n"
            "    try: act()\n"
            "    except StoreError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert done.stdout.count("cannot be written: File too large; free space") == 2
        assert list(tmp_path.iterdir()) == []


class TestS3:
    def test_the_bucket_itself_and_the_general_endpoint(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint.replace("127.0.0.1", "localhost"))
        store = SharedStore(f"s3://{server.bucket}/")
        store.check_writable()
        store.put(*made(1))
        assert store.suites() == ["s"] and names(store) == [made(1)[0].name]
        listed = server.s3.list_objects_v2(Bucket=server.bucket, Prefix="s/nights/")["Contents"]
        assert [one["Key"] for one in listed] == [f"s/nights/{made(1)[0].name}.json"]

    def test_a_missing_bucket(self, server: Server) -> None:
        store = SharedStore("s3://nowhere/nightly")
        night, records = made(1)
        acts = (store.check_writable, store.suites, lambda: store.nights("s"), lambda: store.put(night, records))
        for act in acts:
            assert one_line(act).endswith(
                "there is no such bucket; create it or correct the URL (and AWS_ENDPOINT_URL_S3, if the bucket is not "
                "at AWS)"
            )

    def test_credentials_that_the_server_refuses(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        good = server.key_of_user("s3:*")
        server.check_credentials(True)
        use(monkeypatch, good)
        SharedStore(server.ground().url).check_writable()
        for wrong in ({"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}):
            use(monkeypatch, good | wrong)
            told = one_line(SharedStore(server.ground().url).check_writable)
            assert "the credentials are not accepted; check AWS_ACCESS_KEY_ID" in told
            assert not [value for value in (good | wrong).values() if value in told]

    @pytest.mark.parametrize(
        ("actions", "doing"),
        [
            (["s3:GetObject"], "read"),
            (["s3:ListBucket", "s3:GetObject"], "written"),
            (["s3:ListBucket", "s3:PutObject"], "read"),
            (["s3:ListBucket", "s3:GetObject", "s3:PutObject"], r"cleared of \.probe-\w+ \(deleting '\.probe-\*' .*\)"),
        ],
        ids=["no listing", "no writing", "no reading", "no deleting"],
    )
    def test_what_is_not_allowed(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, actions: list[str], doing: str
    ) -> None:
        user = server.key_of_user(*actions)
        server.check_credentials(True)
        use(monkeypatch, user)
        with pytest.raises(StoreError, match=f"cannot be {doing}: access denied; allow s3:ListBucket"):
            SharedStore(server.ground().url).check_writable()

    def test_no_credentials(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "no credentials were found; set" in one_line(SharedStore(server.ground().url).check_writable)

    def test_a_server_that_is_down(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote, "_S3_TRIES", 1)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            set_up_s3(monkeypatch, f"http://user:hunter2@127.0.0.1:{unused.getsockname()[1]}")
            told = one_line(SharedStore("s3://bucket/nightly").check_writable)
        assert told.endswith("the server does not answer; check the network and AWS_ENDPOINT_URL_S3")
        assert "hunter2" not in told

    def test_a_server_that_says_nothing_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        short = remote._S3["config_kwargs"] | {"connect_timeout": 0.2, "read_timeout": 0.1}
        monkeypatch.setattr(remote, "_S3", remote._S3 | {"config_kwargs": short})
        calls = []
        with socket.create_server(("127.0.0.1", 0)) as silent:

            def listen() -> None:
                while True:
                    try:
                        calls.append(silent.accept())
                    except OSError:
                        return

            threading.Thread(target=listen, daemon=True).start()
            set_up_s3(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
            assert "the server does not answer" in one_line(SharedStore("s3://bucket/nightly").check_writable)
            silent.shutdown(socket.SHUT_RDWR)
        assert 1 <= len(calls) <= 4

    @pytest.mark.parametrize("status", [200, 404, 501])
    def test_a_server_that_is_no_store(self, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
        class Hello(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"<html>hello</html>")

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Hello) as web:
            threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
            set_up_s3(monkeypatch, f"http://127.0.0.1:{web.server_address[1]}")
            told = one_line(SharedStore("s3://bucket/nightly").check_writable)
            web.shutdown()
        assert told.endswith("the server does not take such calls; check AWS_ENDPOINT_URL_S3")

    def test_the_server_itself_lets_nothing_be_overwritten(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = SharedStore(server.ground().url)
        store.put(*made(1))
        before = server.ground().files()
        # as for a writer that looked before another wrote
        monkeypatch.setattr(store._place._client, "exists", lambda path: False)  # type: ignore[attr-defined]
        store.put(*made(1))
        with pytest.raises(StoreError, match="other content"):
            store.put(made(1, value=2.0)[0], made(1)[1])
        assert server.ground().files() == before

    def test_a_server_without_conditions(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        store = SharedStore(server.ground().url)
        client = store._place._client  # type: ignore[attr-defined]
        pipe = client.pipe_file

        def refuse(path: str, content: bytes, **options: str) -> None:
            if options:
                raise remote_error("NotImplemented")
            pipe(path, content)

        monkeypatch.setattr(client, "pipe_file", refuse)
        for _ in range(2):
            store.put(*made(1))
        with pytest.raises(StoreError, match="other content"):
            store.put(made(1, value=2.0)[0], made(1)[1])
        assert names(store) == [made(1)[0].name]


def remote_error(code: str) -> OSError:
    """An error as s3fs raises it: one of Python's, caused by the client's with the server's code."""
    from botocore.exceptions import ClientError

    error = OSError("refused")
    error.__cause__ = ClientError({"Error": {"Code": code}}, "PutObject")
    return error


def one_line(act: Callable[[], object]) -> str:
    with pytest.raises(StoreError, match=r"^results store ") as error:
        act()
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    return str(error.value)


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("s3://AKIA:hunter2@bucket/x", "s3://***@bucket/x"),
            ("s3://AKIA:hun/ter2+x@bucket/x", "s3://***@bucket/x"),
            ("s3:AKIA:hunter2@bucket/x", "s3:***@bucket/x"),
            ("sftp://hunter2@host/x", "sftp://***@host/x"),
            ("s3://bucket/x?X-Amz-Signature=hunter2", "s3://bucket/x?***"),
            ("file://me:hunter2@host/x", "file://***@host/x"),
            ("nonsense://me:hunter2@host?token=hunter2", "nonsense://***@host?***"),
        ],
    )
    def test_secrets_are_refused_and_not_repeated(self, url: str, shown: str) -> None:
        told = one_line(lambda: SharedStore(url))
        assert told.startswith(f"results store {shown}: no user, password or query belongs")
        assert "ter2" not in told and "AKIA" not in told

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("", "a results store needs a name"),
            ("s3://", "results store s3:// names no bucket; write s3://bucket/prefix"),
            ("s3:bucket", "'s3:bucket' is neither a path nor a URL; .*s3://bucket/prefix"),
            ("simplecache::s3://bucket", "is neither a path nor a URL"),
            ("memry://x", "unknown protocol 'memry'; did you mean 'memory'"),
            ("s3://bucket/*/x", r"'\*' cannot be in a store's URL"),
            ("file://host/folder", "a file:// URL holds an absolute path"),
            ("file://folder", "a file:// URL holds an absolute path"),
            ("~nobody-of-that-name/x", "write the path in full"),
        ],
    )
    def test_what_names_no_store(self, url: str, told: str) -> None:
        with pytest.raises(StoreError, match=told):
            SharedStore(url)

    def test_a_missing_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = importlib.import_module("fsspec.registry")._registry
        for module, url, told in [
            ("s3fs", "s3://bucket", "pip install 'llm-technique-harness[s3]'"),
            ("gcsfs", "gs://bucket", "install gcsfs"),
        ]:
            monkeypatch.delitem(opened, url.split(":")[0], raising=False)
            monkeypatch.setitem(sys.modules, module, None)
            assert told in one_line(lambda url=url: SharedStore(url))

    def test_a_folder_needs_no_client(self, tmp_path: Path) -> None:
        code = (
            "import sys; from harness.results.shared import SharedStore\n"
            "store = SharedStore(sys.argv[1]); store.check_writable(); store.nights('s')\n"
            "print(sorted({'fsspec', 's3fs', 'botocore', 'pandas'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"

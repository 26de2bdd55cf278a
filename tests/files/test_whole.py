from __future__ import annotations

import contextlib
import errno
import gzip
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from papermage_core.errors import ConfigError
from papermage_core.files import exclusive, recover, whole, whole_file, whole_folder, whole_text_file


def write(path: Path, content: bytes, *, fail: bool = False) -> None:
    with whole_file(path) as file:
        file.write(content)
        if fail:
            raise RuntimeError("in the middle")


@pytest.mark.parametrize("name", ["a.bin", "a.jsonl.gz"])
def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, b"old")
    before = (tmp_path / name).read_bytes()
    with pytest.raises(RuntimeError, match="in the middle"):
        write(tmp_path / name, b"new", fail=True)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write(target, b"old")
    with whole_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_gz_is_compressed_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write(tmp_path / name, b"content" * 100)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"content" * 100
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write(tmp_path / "whole", b"")
    assert stat.S_IMODE((tmp_path / "whole").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_text_is_utf8_and_lone_surrogates_are_escaped(tmp_path: Path) -> None:
    with whole_text_file(tmp_path / "a.txt") as file:
        file.write("é\n\ud800")
    assert (tmp_path / "a.txt").read_bytes() == "é\n\\ud800".encode()


def test_a_missing_folder_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "no" / "a", b"")


def test_a_folder_in_the_way_is_named_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        write(tmp_path, b"")
    assert caught.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named_by_the_name_that_was_given(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write(tmp_path / "no" / "a", b"")
    assert caught.value.filename == str(tmp_path / "no" / "a")


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    write(path, b"1")
    assert path.read_bytes() == b"1"


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.touch(0o600)
    write(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name in ("there", "new"):
        (tmp_path / name).symlink_to(tmp_path / "far" / name)
    (tmp_path / "far" / "there").write_bytes(b"old")
    for name in ("there", "new"):
        write(tmp_path / name, b"content")
        assert (tmp_path / name).readlink() == tmp_path / "far" / name
        assert (tmp_path / "far" / name).read_bytes() == b"content"
    with pytest.raises(RuntimeError, match="in the middle"):
        write(tmp_path / "there", b"half", fail=True)
    assert (tmp_path / "there").read_bytes() == b"content"


def test_a_device_is_written_to_and_stays() -> None:
    for _ in range(2):
        write(Path(os.devnull), b"content")
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # noqa: PTH116


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gz"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", PRINT, pipe], stdout=subprocess.PIPE) as reader:
        write(pipe, b"content")
        packed, _ = reader.communicate()
    assert gzip.decompress(packed) == b"content"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.gz"]


PRINT = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
WRITE = """
import os, sys
from papermage_core.files import whole_file
os.write(1, b"before ")
with whole_file(sys.argv[1]) as file:
    file.write(b"inside ")
os.write(1, b"after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors have no names here")
def test_a_descriptor_goes_on_where_it_stands(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", WRITE, tmp_path / name], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"before inside after"
    assert (tmp_path / "link").is_symlink()


# Folders


def fill(path: Path, content: str, *, fail: bool = False) -> None:
    with whole_folder(path) as new:
        (new / "inside").mkdir()
        (new / "inside" / "a").write_text(content)
        (new / "inside" / "a").chmod(0o600)
        if fail:
            raise RuntimeError("in the middle")


@pytest.fixture(params=["in one step", "in two steps"])
def swapping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in two steps":
        monkeypatch.setattr(whole, "_exchange", lambda *_: False)


@pytest.mark.usefixtures("swapping")
def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    fill(path, "old")
    with pytest.raises(RuntimeError, match="in the middle"):
        fill(path, "half", fail=True)
    assert (path / "inside" / "a").read_text() == "old"
    with whole_folder(path) as new:
        assert (path / "inside" / "a").read_text() == "old"
        (new / "b").touch()
    assert [found.name for found in path.rglob("*")] == ["b"]
    assert [found.name for found in path.parent.iterdir()] == ["folder"]


def test_all_in_a_folder_has_the_permissions_of_what_is_new(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").touch()
    fill(tmp_path / "folder", "")

    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    assert mode("folder") == mode("folder/inside") == mode("plain")
    assert mode("folder/inside/a") == mode("file")


@pytest.mark.usefixtures("swapping")
def test_a_link_to_a_folder_stays(tmp_path: Path) -> None:
    fill(tmp_path / "far", "old")
    (tmp_path / "link").symlink_to("far")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "inside" / "a").read_text() == "new"


@pytest.mark.skipif(sys.platform != "linux", reason="one step is what Linux has")
def test_two_folders_are_swapped_in_one_step(tmp_path: Path) -> None:
    fill(tmp_path / "a", "1")
    fill(tmp_path / "b", "2")
    assert whole._exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "inside" / "a").read_text() == "2"
    assert not whole._exchange(tmp_path / "a", tmp_path / "c")


# What killed processes leave


KILLED_INSIDE = """
import os, sys
from papermage_core.files import whole_file, whole_folder
with whole_file(sys.argv[1] + "/file"), whole_folder(sys.argv[1] + "/folder"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_cleared_up_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_INSIDE, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        left = {path.name for path in tmp_path.iterdir()}
        assert len(left) == 2
        assert recover(tmp_path) == []
        assert {path.name for path in tmp_path.iterdir()} == left
        process.kill()
    assert recover(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


KILLED_BETWEEN = """
import os, pathlib, signal, sys
from papermage_core.files import whole, whole_folder
whole._exchange = lambda *_: False
rename, count = pathlib.Path.rename, 0
def killing(self, target):
    rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.rename = killing
with whole_folder(sys.argv[1]) as new:
    (new / "a").write_text("new")
"""


def test_a_folder_that_was_taken_away_is_put_back(tmp_path: Path) -> None:
    fill(tmp_path / "folder", "old")
    done = subprocess.run([sys.executable, "-c", KILLED_BETWEEN, tmp_path / "folder"], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "folder").exists()
    assert recover(tmp_path) == []
    assert (tmp_path / "folder" / "inside" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_files_of_others_are_never_cleared_up(tmp_path: Path) -> None:
    names = [".a.partial", ".a.0123456789ab.papermage-newer", "a.0123456789ab.papermage-new", ".checkpoints-x"]
    for name in names:
        (tmp_path / name).touch()
    recover(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_writers_of_one_place_at_once_all_succeed_and_leave_one_whole(tmp_path: Path) -> None:
    def one(number: int) -> None:
        for _ in range(10):
            fill(tmp_path / "folder", str(number) * 1000)
            write(tmp_path / "file", b"%d" % number * 1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(4)))
    assert len(set((tmp_path / "folder" / "inside" / "a").read_text())) == 1
    assert len(set((tmp_path / "file").read_bytes())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_one_process_at_a_time_has_a_folder_to_itself(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        with pytest.raises(BlockingIOError) as caught, exclusive(tmp_path):
            pass
        assert caught.value.filename == str(tmp_path)
    with exclusive(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_made_go_again_where_nothing_came_of_them(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for fail in (True, False):
        for path in ("a/b/c", "there/d", "e"):
            with contextlib.suppress(OSError), whole.made_folder(tmp_path / path) as folder:
                if fail:
                    raise OSError(errno.ENOSPC, "No space")
                (folder / "file").touch()
        assert sorted(path.name for path in tmp_path.rglob("*")) == (
            ["there"] if fail else ["a", "b", "c", "d", "e", "file", "file", "file", "there"]
        )


@pytest.mark.parametrize("name", ["file", "file/a/b", "link"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    blocking = name.partition("/")[0]
    said = rf"{name} cannot be a folder: \S*{blocking} is a file; choose another place"
    with pytest.raises(ConfigError, match=said), whole.made_folder(tmp_path / name):
        pass


def test_a_full_disk_and_files_within_are_told_by_the_name_that_was_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "out"
    for make in (whole_folder, whole_file):
        with pytest.raises(OSError, match="No space") as caught, make(place):
            raise OSError(errno.ENOSPC, "No space")
        assert caught.value.filename == str(place)
    with pytest.raises(FileNotFoundError) as missing, whole_folder(place) as new:
        (new / "no" / "a.txt").write_text("a")
    assert missing.value.filename == str(place / "no" / "a.txt")
    assert not place.exists()

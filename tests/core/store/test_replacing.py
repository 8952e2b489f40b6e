"""What is replaced: never before its replacement exists, never files of others, always where links lead."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from test_output import RUN, fill, make, publish

from cal_pipeline.core.store import lock as locks
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.core.store.local_path import LocalStorePath, remove_tree
from cal_pipeline.errors import StoreError, StoreLockedError
from cal_pipeline.heterodyne.product import CalibratedSession


def die(output):
    """Leave everything as a run that is killed does."""
    output.lock._ended.set()
    locks._running.discard(output.run)


def raise_interrupt(*_):
    raise KeyboardInterrupt


def others(folder):
    """Names beside the session that an output leaves."""
    return sorted(path.name for path in folder.iterdir())


class TestReplacing:
    """A product is replaced once its replacement exists."""

    @pytest.fixture
    def old(self, tmp_path):
        with make(tmp_path) as output:
            output.begin(RUN)
            publish(output, 1, 2)
        return output.path

    def test_the_old_product_is_there_to_the_end(self, old, tmp_path):
        with make(tmp_path, overwrite=True) as output:
            output.begin(RUN)
            publish(output, 3)
            assert CalibratedSession(old).numbers == [1, 2]
            assert output.published() == ["scan_000003"]
            output.finish(["scan_000003"])
            assert CalibratedSession(old).numbers == [3]
        assert others(tmp_path) == ["l1.zarr"]

    def test_it_stays_where_nothing_was_calibrated(self, old, tmp_path):
        with make(tmp_path, overwrite=True) as output:
            output.begin(RUN)
            output.record_failure(1, "write", "ValueError", "x")
            output.finish([])
        assert CalibratedSession(old).numbers == [1, 2]
        assert CalibratedSession(old).failures == []
        assert others(tmp_path) == ["l1.zarr"]

    @pytest.mark.parametrize("how", ["interrupted", "killed"])
    def test_finished_scans_are_left_for_the_next_run(self, old, tmp_path, how):
        output = make(tmp_path, overwrite=True)
        output.begin(RUN)
        publish(output, 3, 4)
        fill(output.staging_of("scan_000005"))
        (die if how == "killed" else LocalOutput.close)(output)
        assert CalibratedSession(old).numbers == [1, 2]
        with make(tmp_path, overwrite=True) as following:
            (left,) = following.leftovers
            assert sorted(path.name for path in left.path.parent.iterdir()) == ["cal_pipeline_run.json", "product"]
            following.begin(RUN)
            following.adopt(left, "scan_000004")
            publish(following, 3, 6)
            following.finish(["scan_000003", "scan_000004", "scan_000006"])
        assert CalibratedSession(old).numbers == [3, 4, 6]
        assert others(tmp_path) == ["l1.zarr"]

    @pytest.mark.parametrize("settings", [{"resume": True}, {"overwrite": True}])
    def test_finished_scans_that_a_run_did_not_make_anew_stay(self, old, tmp_path, caplog, settings):
        output = make(tmp_path, overwrite=True)
        output.begin(RUN)
        publish(output, 3, 4, 5)
        output.close()
        with make(tmp_path, **settings) as following:
            following.begin(RUN)
            publish(following, 5)
            following.finish(["scan_000005"])
            product = output.staging.product
        assert CalibratedSession(product).numbers == [3, 4]
        assert (
            f"finished scans 3, 4 of an interrupted run are kept in {product}; give resume=True to take them up"
        ) in caplog.text
        with make(tmp_path, overwrite=True) as last:
            last.begin(RUN)
            publish(last, 3, 4)
            last.finish(["scan_000003", "scan_000004"])
        assert others(tmp_path) == ["l1.zarr"]

    def test_a_scan_that_could_not_be_taken_up_stays(self, old, tmp_path, monkeypatch):
        output = make(tmp_path, overwrite=True)
        output.begin(RUN)
        publish(output, 3, 4)
        output.close()
        with make(tmp_path, resume=True) as following:
            following.begin(RUN)
            (left,) = following.leftovers
            with monkeypatch.context() as patch:
                patch.setattr(Path, "rename", lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    following.adopt(left, "scan_000003")
            following.adopt(left, "scan_000004")
            following.finish(["scan_000004"])
        assert CalibratedSession(output.staging.product).numbers == [3]

    def test_leftovers_stay_until_a_run_has_all_that_it_was_asked_for(self, old, tmp_path):
        output = make(tmp_path, overwrite=True)
        output.begin(RUN)
        publish(output, 3)
        output.close()
        with make(tmp_path, overwrite=True) as following:
            following.begin(RUN)
            publish(following, 4)
        assert len(list((tmp_path / "l1.zarr.staging").iterdir())) == 2

    def test_a_run_that_was_killed_before_its_first_scan_leaves_nothing_of_use(self, old, tmp_path):
        output = make(tmp_path, overwrite=True)
        output.begin(RUN)
        fill(output.staging_of("scan_000003"))
        die(output)
        with make(tmp_path, overwrite=True) as following:
            assert following.leftovers == []
            assert [path.name for path in (tmp_path / "l1.zarr.staging").iterdir()] == [following.run]
        assert others(tmp_path) == ["l1.zarr"]

    def test_killed_between_the_two_renames_the_old_product_is_put_back(self, old, tmp_path, caplog):
        output = make(tmp_path, overwrite=True)
        output.begin(RUN)
        publish(output, 3)
        output.staging.put_aside(old)
        die(output)
        with pytest.raises(StoreError, match=r"a run that was replacing it was stopped; it is in .*/old/product, and"):
            CalibratedSession(old)
        with pytest.raises(StoreError, match="exists; give overwrite=True"):
            make(tmp_path)
        assert CalibratedSession(old).numbers == [1, 2]
        assert "l1.zarr is put back: the run that replaced it was stopped" in caplog.text
        with make(tmp_path, overwrite=True) as following:
            assert [CalibratedSession(left.path).numbers for left in following.leftovers] == [[3]]

    def test_killed_after_the_two_renames_the_new_product_is_there(self, old, tmp_path):
        output = make(tmp_path, overwrite=True)
        output.begin(RUN)
        publish(output, 3)
        output.finish(["scan_000003"])
        die(output)
        with make(tmp_path, overwrite=True) as following:
            assert following.leftovers == []
        assert CalibratedSession(old).numbers == [3]
        assert others(tmp_path) == ["l1.zarr"]

    def test_an_old_product_that_cannot_be_moved_stays(self, old, tmp_path, monkeypatch):
        with make(tmp_path, overwrite=True) as output:
            output.begin(RUN)
            publish(output, 3)
            rename = Path.rename

            def refuse(path, target):
                if path == old:
                    raise PermissionError(13, "Permission denied", str(path))
                return rename(path, target)

            monkeypatch.setattr(Path, "rename", refuse)
            with pytest.raises(
                StoreError, match=r"cannot be replaced: Permission denied; the new product is in .*staging"
            ):
                output.finish(["scan_000003"])
        assert CalibratedSession(old).numbers == [1, 2]
        assert CalibratedSession(output.staging.product).numbers == [3]

    def test_a_new_product_that_cannot_be_moved_gives_its_place_back(self, old, tmp_path, monkeypatch):
        with make(tmp_path, overwrite=True) as output:
            output.begin(RUN)
            publish(output, 3)
            rename = Path.rename

            def refuse(path, target):
                if path == output.staging.product:
                    raise OSError(5, "Input/output error")
                return rename(path, target)

            monkeypatch.setattr(Path, "rename", refuse)
            with pytest.raises(StoreError, match="cannot be replaced: Input/output error"):
                output.finish(["scan_000003"])
        assert CalibratedSession(old).numbers == [1, 2]

    @pytest.mark.parametrize("how", ["product", "scan"])
    @pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
    def test_what_cannot_be_replaced_nor_put_back_stays_for_the_next_run(
        self, old, tmp_path, monkeypatch, caplog, how, error
    ):
        output = make(tmp_path, overwrite=how == "product", resume=how == "scan")
        output.begin(RUN)
        rename, target = Path.rename, old if how == "product" else old / "scan_000002"

        def refuse(path, to):
            if to == target:
                raise error
            return rename(path, to)

        def replace():
            publish(output, 2)
            output.finish(["scan_000002"])

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refuse)
            with pytest.raises((StoreError, OSError, KeyboardInterrupt)):
                replace()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refuse if isinstance(error, OSError) else rename)
            output.close()
        if isinstance(error, OSError):
            assert "left behind: [Errno 5] Input/output error" in caplog.text
            assert not target.exists()
        with make(tmp_path, resume=True) as following:
            assert following.published() == ["scan_000001", "scan_000002"]
        assert CalibratedSession(old).numbers == [1, 2]

    def test_what_is_put_aside_and_belongs_nowhere_stays(self, old, tmp_path, caplog):
        output = make(tmp_path, resume=True)
        output.begin(RUN)
        aside = output.staging.put_aside(old / "scan_000002")
        remove_tree(old)
        output.close()
        assert (aside / "zarr.json").exists()
        assert f"{aside} is kept: {old}/scan_000002, where it belongs, does not exist" in caplog.text
        with make(tmp_path) as following:
            assert (aside / "zarr.json").exists()
            assert following.leftovers == []

    def test_a_scan_that_was_being_removed_does_not_come_back(self, old, tmp_path, monkeypatch):
        output = make(tmp_path, resume=True)
        output.begin(RUN)
        with monkeypatch.context() as patch:
            patch.setattr("cal_pipeline.core.store.staging.remove_or_warn", raise_interrupt)
            with pytest.raises(KeyboardInterrupt):
                output.drop("scan_000002")
        die(output)
        with make(tmp_path, resume=True) as following:
            assert following.published() == ["scan_000001"]
        assert others(tmp_path) == ["l1.zarr"]

    def test_continued_in_place_scans_are_replaced_one_by_one(self, old, tmp_path):
        before = (old / "scan_000001/zarr.json").stat().st_ino
        with make(tmp_path, resume=True) as output:
            output.begin(RUN)
            assert output.published() == ["scan_000001", "scan_000002"]
            publish(output, 2, 3, names=("t_sys",))
            assert CalibratedSession(old).numbers == [1, 2, 3]
            assert (old / "scan_000002/t_sys").exists()
            assert not (old / "scan_000002/pwv").exists()
            output.drop("scan_000003")
            assert CalibratedSession(old).numbers == [1, 2]
            publish(output, 4)
            output.keep_only(["scan_000001", "scan_000004"])
        assert CalibratedSession(old).numbers == [1, 4]
        assert (old / "scan_000001/zarr.json").stat().st_ino == before
        assert others(tmp_path) == ["l1.zarr"]

    def test_a_scan_that_was_put_aside_and_not_replaced_is_put_back(self, old, tmp_path):
        output = make(tmp_path, resume=True)
        output.begin(RUN)
        output.staging.put_aside(old / "scan_000002")
        die(output)
        assert CalibratedSession(old).numbers == [1]
        with make(tmp_path, resume=True) as following:
            assert following.published() == ["scan_000001", "scan_000002"]

    def test_a_scan_that_cannot_be_renamed_leaves_the_one_before_it(self, old, tmp_path, monkeypatch):
        with make(tmp_path, resume=True) as output:
            output.begin(RUN)
            rename = Path.rename

            def refuse(path, target):
                if path.parent.name == "unpublished":
                    raise OSError(5, "Input/output error")
                return rename(path, target)

            monkeypatch.setattr(Path, "rename", refuse)
            with pytest.raises(OSError, match="Input/output"):
                publish(output, 2)
        assert CalibratedSession(old).numbers == [1, 2]

    @pytest.mark.parametrize("attempt", ["drop", "keep_only", "finish", "publish"])
    def test_a_run_that_was_suspended_leaves_alone_what_another_has_finished(self, old, tmp_path, monkeypatch, attempt):
        suspended = make(tmp_path, overwrite=attempt == "finish", resume=attempt != "finish")
        suspended.begin(RUN)
        publish(suspended, 4)
        with monkeypatch.context() as patch:
            patch.setattr(locks.Holder, "is_gone", lambda holder: holder.run == suspended.run)
            with make(tmp_path, overwrite=True) as other:
                other.begin(RUN)
                publish(other, 1, 3)
                other.finish(["scan_000001", "scan_000003"])
        if attempt == "publish":
            suspended.lock._confirmed -= 1000
        with pytest.raises(StoreLockedError, match=r"the lock of output .*l1\.zarr is gone: another run"):
            getattr(suspended, attempt)("scan_000001" if attempt in ("drop", "publish") else ["scan_000004"])
        suspended.lock.renew()
        suspended.close()
        assert CalibratedSession(old).numbers == [1, 3]
        assert not (tmp_path / "l1.zarr.lock").exists()

    def test_nothing_can_be_continued_where_nothing_is(self, tmp_path):
        with make(tmp_path, resume=True) as output:
            output.begin(RUN)
            publish(output, 1)
        assert CalibratedSession(output.path).numbers == [1]


class TestFilesOfOthers:
    """Foreign files are refused by name, and stay."""

    @pytest.fixture
    def old(self, tmp_path):
        with make(tmp_path) as output:
            output.begin(RUN)
            publish(output, 1)
        return output.path

    @pytest.mark.parametrize(
        "name",
        [
            "notes.txt",
            "scan_000001/notes.txt",
            "scan_000001/pwv/c.0.bak",
            "figures/one.png",
            "scan_1/zarr.json",
            ".hidden",
        ],
    )
    def test_in_the_store(self, old, tmp_path, name):
        (old / name).parent.mkdir(exist_ok=True)
        (old / name).write_text("mine")
        for settings in ({"overwrite": True}, {"resume": True}):
            with pytest.raises(StoreError, match=f"holds what is not part of an L1 store.*: {name}; move it elsewhere"):
                make(tmp_path, **settings)
        assert (old / name).read_text() == "mine"
        assert CalibratedSession(old).numbers == [1]
        assert others(tmp_path) == ["l1.zarr"]

    def test_many_are_counted(self, old, tmp_path):
        for k in range(8):
            (old / f"{k}.txt").touch()
        with pytest.raises(StoreError, match=r"0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more"):
            make(tmp_path, overwrite=True)

    def test_a_link_in_the_store(self, old, tmp_path):
        (old / "scan_000001" / "c").symlink_to(tmp_path)
        with pytest.raises(StoreError, match=r"is not part of an L1 store.*: scan_000001/c \(a link\)"):
            make(tmp_path, overwrite=True)

    @pytest.mark.parametrize("name", ["thesis.txt", "drafts/thesis.txt"])
    def test_in_the_staging_folder(self, tmp_path, name):
        file = tmp_path / "l1.zarr.staging" / name
        file.parent.mkdir(parents=True)
        file.write_text("all of it")
        first, _, _ = name.partition("/")
        with pytest.raises(StoreError, match=f"l1.zarr.staging holds what no run made: {first}; move it elsewhere"):
            make(tmp_path)
        assert file.read_text() == "all of it"

    @pytest.mark.parametrize("kind", ["file", "link", "link to nothing"])
    def test_in_the_place_of_the_staging_folder(self, tmp_path, kind):
        staging, elsewhere = tmp_path / "l1.zarr.staging", tmp_path / "elsewhere"
        if kind == "file":
            staging.write_text("mine")
        else:
            staging.symlink_to(elsewhere)
        if kind == "link":
            elsewhere.mkdir()
        with pytest.raises(StoreError, match=r"l1\.zarr.staging is in the way"):
            make(tmp_path)
        assert staging.is_symlink() == (kind != "file")

    def test_a_run_that_was_killed_while_it_made_its_folder_is_no_stranger(self, tmp_path):
        folder = tmp_path / "l1.zarr.staging" / "0123abcd"
        folder.mkdir(parents=True)
        with make(tmp_path) as output:
            # That of a run which begins at this moment looks the same.
            assert folder.exists()
            output.begin(RUN)
        os.utime(folder, (0, 0))
        with make(tmp_path, overwrite=True) as output:
            assert not folder.exists()
        assert others(tmp_path) == ["l1.zarr"]

    def test_one_who_comes_meanwhile_keeps_the_staging_folder(self, tmp_path):
        with make(tmp_path) as output:
            output.begin(RUN)
            (tmp_path / "l1.zarr.staging" / "thesis.txt").write_text("all of it")
        assert (tmp_path / "l1.zarr.staging" / "thesis.txt").exists()

    def test_a_new_store_that_others_have_written_to_is_not_discarded(self, tmp_path, caplog):
        with make(tmp_path) as output:
            output.begin(RUN)
            (output.path / "notes.txt").write_text("mine")
            output.discard()
        assert (output.path / "notes.txt").read_text() == "mine"
        assert "holds more than this run wrote" in caplog.text

    def test_what_cannot_be_removed_is_named_before_anything_is_written(self, old, tmp_path, monkeypatch):
        fixed = old / "scan_000001"
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(fixed))
        with pytest.raises(StoreError, match=f"{fixed} cannot be removed"):
            make(tmp_path, overwrite=True)
        assert CalibratedSession(old).numbers == [1]

    @pytest.mark.parametrize("what", ["store", "file"])
    def test_what_belongs_to_another_account_in_a_shared_folder(self, old, tmp_path, monkeypatch, what):
        (tmp_path if what == "store" else old / "scan_000001").chmod(0o1777)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(StoreError, match="belongs to another account"):
            make(tmp_path, overwrite=True)
        assert CalibratedSession(old).numbers == [1]

    def test_a_file_system_is_not_renamed(self, old, tmp_path, monkeypatch):
        stat = Path.stat

        def elsewhere(path, **settings):
            found = stat(path, **settings)
            return os.stat_result((*found[:2], 7, *found[3:])) if path == old else found

        monkeypatch.setattr(Path, "stat", elsewhere)
        with pytest.raises(StoreError, match="is the root of a file system"):
            make(tmp_path, overwrite=True)

    def test_staging_that_cannot_be_removed_is_named_in_the_log(self, old, tmp_path, monkeypatch, caplog):
        def refuse(path, **_):
            raise PermissionError(13, "Permission denied", path)

        with make(tmp_path, overwrite=True) as output:
            output.begin(RUN)
            publish(output, 2)
            output.finish(["scan_000002"])
            monkeypatch.setattr(os, "rmdir", refuse)
        assert "left behind: " in caplog.text
        assert "cannot be removed: Permission denied" in caplog.text
        assert CalibratedSession(old).numbers == [2]


class TestLinks:
    """A path is judged by where it leads."""

    def test_a_linked_output_is_replaced_where_it_lies(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        (tmp_path / "l1.zarr").symlink_to("disk/l1.zarr")
        for number in (1, 2):
            with make(tmp_path, overwrite=True) as output:
                output.begin(RUN)
                publish(output, number)
                assert output.staging.path.parent == disk / "l1.zarr.staging"
                output.finish([f"scan_{number:06d}"])
        assert (tmp_path / "l1.zarr").is_symlink()
        assert CalibratedSession(tmp_path / "l1.zarr").numbers == [2]
        assert others(disk) == ["l1.zarr"]

    def test_both_names_of_an_output_have_one_lock(self, tmp_path):
        (tmp_path / "l1.zarr").symlink_to("other.zarr")
        with make(tmp_path), pytest.raises(StoreLockedError):
            make(tmp_path, "other.zarr")

    def test_links_among_the_folders_above_keep_their_names(self, tmp_path):
        # A worker on another host may have a link of this name to another place.
        (tmp_path / "disk").mkdir()
        (tmp_path / "data").symlink_to("disk")
        with make(tmp_path, "data/l1.zarr") as output:
            output.begin(RUN)
            assert output.root.name == str(tmp_path / "data" / "l1.zarr")
            with pytest.raises(StoreLockedError):
                make(tmp_path, "disk/l1.zarr")
            publish(output, 1)
        assert CalibratedSession(tmp_path / "disk" / "l1.zarr").numbers == [1]

    def test_a_linked_product_tells_what_became_of_its_run(self, tmp_path):
        (tmp_path / "disk").mkdir()
        (tmp_path / "l1.zarr").symlink_to("disk/l1.zarr")
        with make(tmp_path) as output:
            holder = output.holder
            output.begin(json.dumps(dataclasses.asdict(holder) | {"state": "running"}).encode())
            publish(output, 1)
            assert CalibratedSession(tmp_path / "l1.zarr").run_state == "running"
            output.staging.put_aside(output.path)
            with pytest.raises(StoreError, match=r"in .*disk/l1\.zarr\.staging/.*/old/product"):
                CalibratedSession(tmp_path / "l1.zarr")
            output.staging.put_back()
        assert CalibratedSession(tmp_path / "l1.zarr").run_state == "interrupted"

    def test_links_that_point_to_each_other(self, tmp_path):
        (tmp_path / "l1.zarr").symlink_to("b.zarr")
        (tmp_path / "b.zarr").symlink_to("l1.zarr")
        with pytest.raises(StoreError, match=r"l1\.zarr cannot be found"):
            make(tmp_path)

    @pytest.mark.parametrize("name", ["linked.zarr", "linked.zarr/l1.zarr", "other/../session.zarr/l1.zarr"])
    def test_an_output_in_the_input(self, tmp_path, name):
        (tmp_path / "session.zarr").mkdir()
        (tmp_path / "other").mkdir()
        (tmp_path / "linked.zarr").symlink_to("session.zarr")
        with pytest.raises(StoreError, match="are the same store, or one contains the other"):
            make(tmp_path, name)

    def test_the_same_folder_by_another_name(self, tmp_path, monkeypatch):
        # As with a file system that is mounted twice, or one that does not tell capitals.
        for name in ("session.zarr", "SESSION.zarr"):
            (tmp_path / name).mkdir()
        stat = Path.stat
        monkeypatch.setattr(Path, "stat", lambda path, **how: stat(Path(str(path).lower()), **how))
        with pytest.raises(StoreError, match="are the same store"):
            make(tmp_path, "SESSION.zarr/l1.zarr")

    def test_an_output_in_a_scan_that_lies_elsewhere(self, tmp_path):
        (tmp_path / "disk" / "scan").mkdir(parents=True)
        (tmp_path / "session.zarr").mkdir()
        (tmp_path / "session.zarr" / "scan_000001").symlink_to("../disk/scan")
        with pytest.raises(StoreError, match="are the same store"):
            make(tmp_path, "disk/scan/l1.zarr")
        make(tmp_path, "disk/l1.zarr").close()

    @pytest.mark.parametrize("name", ["session.zarr/../beside.zarr", "session.zarr.old/l1.zarr", "sessions.zarr"])
    def test_what_only_looks_like_it_is_not_refused(self, tmp_path, name):
        (tmp_path / "session.zarr").mkdir()
        with make(tmp_path, name) as output:
            assert output.path == (tmp_path / name).resolve()

    def test_an_input_in_the_staging_folder(self, tmp_path):
        source = str(tmp_path / "l1.zarr.staging" / "session.zarr")
        with pytest.raises(StoreError, match="are the same store"):
            LocalOutput(tmp_path / "l1.zarr", True, source, CalibratedSession.kind)

    def test_an_output_in_another_product(self, tmp_path):
        with make(tmp_path) as output:
            output.begin(RUN)
        with pytest.raises(StoreError, match=r"lies in .*l1\.zarr, which is an L1 store"):
            make(tmp_path, "l1.zarr/scan_000001/l1.zarr")


class TestRemovedTrees:
    def test_links_are_removed_and_not_what_they_point_to(self, tmp_path):
        tree = tmp_path / "tree"
        (tree / "a" / "b").mkdir(parents=True)
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / "file").touch()
        for name in ("a/link", "linked"):
            (tree / name).symlink_to(tmp_path / "kept")
        (tree / "dangling").symlink_to("nowhere")
        remove_tree(tree)
        assert others(tmp_path) == ["kept"]
        (tmp_path / "link").symlink_to("kept")
        remove_tree(tmp_path / "link")
        remove_tree(tmp_path / "link")
        assert (tmp_path / "kept" / "file").exists()

    def test_what_cannot_be_removed_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "a" / "b").mkdir(parents=True)
        unlink = os.unlink
        (tmp_path / "a" / "b" / "file").touch()

        def refuse(path, **settings):
            if str(path).endswith("file"):
                raise PermissionError(1, "Operation not permitted")
            unlink(path, **settings)

        monkeypatch.setattr(os, "unlink", refuse)
        with pytest.raises(StoreError, match="a/b/file cannot be removed: Operation not permitted"):
            LocalStorePath(tmp_path / "a").remove()


class TestFaultsOfTheDisk:
    """A failed observation is not listed."""

    def test_a_scan_whose_listing_does_not_reach_the_disk_is_taken_out_again(self, tmp_path, monkeypatch):
        with make(tmp_path) as output:
            output.begin(RUN)
            publish(output, 1)
            fill(output.staging_of("scan_000002"))
            with monkeypatch.context() as broken:
                broken.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
                with pytest.raises(OSError, match="Input/output"):
                    output.publish("scan_000002")
            assert output.published() == ["scan_000001"]
            output.publish("scan_000002")
            assert output.published() == ["scan_000001", "scan_000002"]

    def test_what_was_replaced_and_cannot_be_removed_is_no_failure(self, tmp_path, monkeypatch, caplog):
        with make(tmp_path, resume=True) as output:
            output.begin(RUN)
            publish(output, 1)
            with monkeypatch.context() as broken:
                broken.setattr(os, "rmdir", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied", path)))
                publish(output, 1, names=("t_sys",))
            assert (output.path / "scan_000001" / "t_sys").exists()
        assert "left behind: " in caplog.text
        assert others(tmp_path) == ["l1.zarr"]

    def test_a_product_that_somebody_removed_meanwhile_is_made(self, tmp_path):
        with make(tmp_path) as output:
            output.begin(RUN)
        with make(tmp_path, overwrite=True) as output:
            output.begin(RUN)
            publish(output, 1)
            remove_tree(output.path)
            output.finish(["scan_000001"])
        assert CalibratedSession(output.path).numbers == [1]
        assert others(tmp_path) == ["l1.zarr"]

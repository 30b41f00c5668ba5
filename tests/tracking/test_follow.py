"""What is read of a run folder while it is written."""

import time

from fewstep.tracking import Follower, Progress


def images(entries):
    return [entry["images"] for entry in entries]


def test_a_line_is_read_when_it_is_whole(write_progress):
    folder = write_progress(10)
    progress, file = Progress(folder), folder / "progress.jsonl"
    line = file.read_bytes().replace(b'"images": 10,', b'"images": 20,')
    with file.open("ab") as more:
        more.write(line[:30])
        more.flush()
        assert images(progress.read()[0]) == [10]
        assert progress.read() == ([], [])
        more.write(line[30:])
    assert images(progress.read()[0]) == [20]


def test_what_a_resumed_training_repeats_is_read_once(write_progress):
    folder = write_progress(10, 20, 30)
    progress = Progress(folder)
    assert images(progress.read()[0]) == [10, 20, 30]
    write_progress(20, 30, 40)
    assert images(progress.read()[0]) == [40]


def test_a_line_torn_by_a_kill_costs_nothing_but_itself(write_progress):
    folder = write_progress(10)
    with (folder / "progress.jsonl").open("a") as file:
        file.write('{"step": 2, "ima')
    write_progress(20, 30)
    with (folder / "progress.jsonl").open("a") as file:
        file.write('not json\n[1]\n{"step": 4}\n')
    assert images(Progress(folder).read()[0]) == [10, 20, 30]


def test_a_progress_file_that_begins_anew_is_read_anew(write_progress):
    folder = write_progress(10, 20, 30)
    progress = Progress(folder)
    progress.read()
    (folder / "progress.jsonl").unlink()
    write_progress(10)
    assert images(progress.read()[0]) == [10]


def test_pictures_come_by_images_seen(write_progress):
    folder = write_progress()
    (folder / "pictures").mkdir()
    for name in ("samples_nfe1_000000200.png", "samples_nfe1_000000100.png", "other.png", "samples_nfe2_000000100.tmp"):
        (folder / "pictures" / name).touch()
    progress = Progress(folder)
    assert [(p.key, p.images) for p in progress.read()[1]] == [("samples_nfe1", 100), ("samples_nfe1", 200)]
    assert progress.read() == ([], [])


def test_a_follower_hands_over_everything_before_it_stops(write_progress):
    folder, seen = write_progress(), []
    with Follower(folder, [lambda entries, _: seen.extend(images(entries))], seconds=0.01):
        write_progress(10)
        time.sleep(0.1)
        assert seen == [10]
        write_progress(20)
    assert seen == [10, 20]


def test_a_consumer_that_fails_stops_no_other(write_progress, caplog):
    folder, seen = write_progress(10), []

    def broken(entries, pictures):
        raise RuntimeError("the bar fell over")

    with Follower(folder, [broken, lambda entries, _: seen.extend(images(entries))], seconds=0.01):
        time.sleep(0.1)
        write_progress(20)
    assert seen == [10, 20]
    assert len(caplog.records) == 1
    assert "gets no more" in caplog.text


def test_a_consumer_that_hangs_does_not_hold_the_training(write_progress, caplog):
    follower = Follower(write_progress(10), [lambda *_: time.sleep(1)], seconds=0.01).start()
    time.sleep(0.05)
    follower.stop(patience=0.05)
    assert "not everything" in caplog.text

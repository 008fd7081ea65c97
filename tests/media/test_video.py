"""Which frames of a film are taken, when they are shown, and that skipping never changes a pixel."""

import contextlib
import gc
import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media.media_files import frame_number, tone, video_bytes

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media import frames as frames_module
from gemma4_mlx.media import video as video_module
from gemma4_mlx.media.frames import FrameIndex, decode_frames
from gemma4_mlx.media.images import to_patches
from gemma4_mlx.media.sources import MediaLimits, read_source
from gemma4_mlx.media.strips import frame_patches
from gemma4_mlx.media.video import Video, load_video, sample_times


def numbers(video: Video) -> list[int]:
    return [frame_number(frame.pixels) for frame in video.frames]


ENCODINGS: list[dict[str, Any]] = [
    {},
    {"container": "mov", "encoder": {"g": "7", "bf": "3"}},
    {"container": "matroska", "encoder": {"x264-params": "open-gop=1:keyint=10:bframes=3"}},
    {"encoder": {"x264-params": "intra-refresh=1:keyint=10"}},
    {"codec": "libx265", "encoder": {"x265-params": "log-level=none:keyint=8:bframes=3:open-gop=1"}},
    {"codec": "libvpx-vp9", "container": "webm"},
    {"codec": "libvpx", "container": "webm", "encoder": {"auto-alt-ref": "1", "lag-in-frames": "10"}},
    {"movflags": "frag_keyframe+empty_moov"},
    {"movflags": "+faststart"},
]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_the_published_sampling(encoding: dict[str, Any]) -> None:
    film = video_bytes(30, **encoding)
    assert numbers(load_video(film)) == list(range(30))
    video = load_video(film, max_frames=7)
    wanted = [0, 4, 8, 12, 17, 21, 25]
    assert numbers(video) == wanted
    assert video.timestamps == pytest.approx([n / 10 for n in wanted], abs=0.0011)
    assert video.soundtrack == []
    assert all(frame.pixels.shape == (55, 6912) for frame in video.frames)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_one_frame_each_interval(container: str) -> None:
    film = video_bytes(30, container=container)
    assert numbers(load_video(film, fps=2)) == [0, 5, 10, 15, 20, 25]
    assert numbers(load_video(film, fps=0.1)) == [0]
    assert numbers(load_video(film, fps=10)) == list(range(30))


# (options, the frames of a video of 30 at 10 a second, what is said)
TOO_MANY: list[tuple[dict[str, Any], list[int], str]] = [
    (
        {"fps": 5, "max_frames": 8},
        [0, 2, 6, 10, 14, 18, 22, 26],
        "5 frames a second would be 15 frames, more than the maximum of 8: thinned out to 8, one every 0.375 s",
    ),
    (
        {"fps": 10, "max_frames": 3},
        [0, 10, 20],
        "10 frames a second would be 30 frames, more than the maximum of 3: thinned out to 3, one every 1 s",
    ),
    (
        {"fps": 1e6, "max_frames": 1},
        [0],
        "1e+06 frames a second would be 30 frames, more than the maximum of 1: thinned out to 1, one every 3 s",
    ),
    ({"fps": 100}, list(range(30)), "has no 100 frames a second: all 30 that it has are used"),
    ({"fps": 12}, list(range(30)), "has no 12 frames a second: all 30 that it has are used"),
]


@pytest.mark.parametrize(("options", "wanted", "said"), TOO_MANY)
@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_more_frames_than_may_be_or_are_there(
    container: str, options: dict[str, Any], wanted: list[int], said: str
) -> None:
    video = load_video(video_bytes(30, container=container, sound=tone(3, 48_000)), **options)
    assert numbers(video) == wanted
    assert video.timestamps == pytest.approx([number / 10 for number in wanted], abs=0.0011)
    assert video.notes == (f"bytes: {said}",)
    assert [len(clip) for clip in video.soundtrack] == [75 if container == "mp4" else 76]  # with padding


def test_times_that_have_to_be_counted_are_thinned_out_with_one_note() -> None:
    """AVI states no times: frames are chosen by their packets, and again as they are decoded."""
    film = video_bytes(30, container="avi", encoder={"bf": "3", "b_strategy": "0", "x264-params": "b-adapt=0"})
    video = load_video(film, fps=5, max_frames=3)
    assert len(video.frames) == 3
    (note,) = [note for note in video.notes if "frames a second" in note]
    assert note.startswith("bytes: 5 frames a second would be 15 frames, more than the maximum of 3: thinned out to 3,")


def test_a_rate_that_a_video_has_is_no_news() -> None:
    assert [load_video(video_bytes(30), fps=fps).notes for fps in (0.1, 1, 5, 10)] == [()] * 4


def test_variable_frame_rate() -> None:
    """Ten frames in the first second, then one every half second: times are the real ones."""
    times = [*range(0, 1000, 100), *range(1000, 6000, 500)]
    film = video_bytes(20, times=times, container="matroska")
    video = load_video(film, max_frames=4)
    assert numbers(video) == [0, 5, 10, 15]
    assert video.timestamps == [0.0, 0.5, 1.0, 3.5]
    assert numbers(load_video(film, fps=1)) == [0, 10, 12, 14, 16, 18]


def test_times_count_from_the_first_frame() -> None:
    video = load_video(video_bytes(10, times=list(range(5_000, 6_000, 100)), container="matroska"), max_frames=2)
    assert video.timestamps == [0.0, 0.5]


@pytest.mark.parametrize("rotation", [0, 90, -90, 180])
def test_a_phones_rotation_is_applied(rotation: int) -> None:
    """`rotation` is how far the picture is turned counter-clockwise for showing; the white bar is stored at the top."""
    frame = load_video(video_bytes(2, (192, 96), rotation=rotation)).frames[0]
    columns, rows = (frame.positions.max(axis=0) + 1).tolist()
    assert (columns > rows) == (rotation in (0, 180))
    x, y = frame.positions.T
    edges = {0: y == 0, 90: x == 0, -90: x == columns - 1, 180: y == rows - 1}
    brightness = {turn: float(frame.pixels[edge].mean()) for turn, edge in edges.items()}
    assert max(brightness, key=lambda turn: brightness[turn]) == rotation
    assert brightness[rotation] > 240


@pytest.mark.parametrize(
    ("matrix", "edge"),
    [
        ((1, 0, 0, 1), "top"),
        ((-1, 0, 0, -1), "bottom"),
        ((0, 1, -1, 0), "right"),
        ((0, -1, 1, 0), "left"),
        ((-1, 0, 0, 1), "top"),
        ((1, 0, 0, -1), "bottom"),
        ((0, 1, 1, 0), "left"),
        ((0, -1, -1, 0), "right"),
    ],
)
def test_display_matrices(matrix: tuple[int, int, int, int], edge: str) -> None:
    """The matrix sends a pixel's (x, y) to (a x + c y, b x + d y); the white bar is stored at the top."""
    film = bytearray(video_bytes(2, (192, 96), flag=True))
    start = film.index(b"tkhd") + 44
    a, b, c, d = (number << 16 for number in matrix)
    film[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    frame = load_video(bytes(film)).frames[0]
    columns, rows = (frame.positions.max(axis=0) + 1).tolist()
    shown = frame.pixels.reshape(rows, columns, 48, 48, 3).swapaxes(1, 2).reshape(rows * 48, columns * 48, 3)
    sides = {"top": shown[:20], "bottom": shown[-20:], "left": shown[:, :20], "right": shown[:, -20:]}
    assert min(sides, key=lambda side: abs(255 - float(np.median(sides[side])))) == edge
    # a red flag is stored at the bottom left
    x, y = np.array(matrix).reshape(2, 2).T @ (-1, 1)
    redness = shown[..., 0].astype(int) - shown[..., 2]
    corner = redness[20:-20, 20:-20][:: int(y), :: int(x)][-60:, -60:]
    assert corner.mean() > 60


@pytest.mark.parametrize(
    ("aspect", "rotation", "grid"),
    [((4, 3), None, (12, 5)), ((1, 1), None, (10, 6)), ((1, 2), None, (7, 9)), ((4, 3), 90, (5, 12))],
)
def test_pixels_that_are_no_squares(aspect: tuple[int, int], rotation: int | None, grid: tuple[int, int]) -> None:
    frame = load_video(video_bytes(2, (320, 192), aspect=aspect, rotation=rotation)).frames[0]
    assert tuple((frame.positions.max(axis=0) + 1).tolist()) == grid


def test_slow_film_without_reordered_frames() -> None:
    """FFmpeg expects later frames to be shown first, and so guesses a start that is several frames late."""
    video = load_video(video_bytes(60, rate=1, container="matroska", encoder={"bf": "0"}))
    assert (len(video.frames), video.timestamps[-1], video.notes) == (32, 58.0, ())


@pytest.mark.parametrize("container", ["webm", "matroska"])
def test_the_recorders_clock_is_no_length(container: str) -> None:
    """A screen recorder goes on after the last frame, and its header says so."""
    film = bytearray(video_bytes(20, codec="libvpx-vp9", container=container))
    at = film.index(b"\x44\x89\x88") + 3
    film[at : at + 8] = struct.pack(">d", 15_000.0)
    video = load_video(bytes(film))
    assert (numbers(video), video.notes) == (list(range(20)), ())


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mpegts", "libx264"), ("avi", "libx264"), ("flv", "libx264"), ("mpeg", "mpeg2video")],
)
def test_containers_of_cameras(container: str, codec: str) -> None:
    video = load_video(video_bytes(30, rate=25, container=container, codec=codec), max_frames=6)
    assert numbers(video) == [0, 5, 10, 15, 20, 25]
    assert video.timestamps == pytest.approx([n / 25 for n in (0, 5, 10, 15, 20, 25)], abs=0.02)


@pytest.mark.parametrize(
    ("encoding", "what"),
    [({"encoder": {"g": "12", "crf": "10"}}, "parts of it"), ({"codec": "mpeg4"}, "some of its frames")],
)
def test_a_damaged_film_is_used_with_one_note(encoding: dict[str, Any], what: str) -> None:
    film = bytearray(video_bytes(60, (320, 192), **encoding))
    middle = len(film) // 2
    film[middle : middle + 1000] = bytes(1000)
    video = load_video(bytes(film))
    assert len(video.frames) == 32
    assert video.notes == (f"bytes: is damaged: {what} can't be decoded; the others are used",)


def test_soundtrack() -> None:
    film = video_bytes(10, sound=tone(1.5, 48_000))
    assert [clip.shape for clip in load_video(film).soundtrack] == [(38, 640)]
    assert load_video(film, soundtrack=False).soundtrack == []


def test_sources(tmp_path: Any) -> None:
    film = video_bytes(5, sound=tone(0.5, 48_000))
    path = tmp_path / "film 100%d.mp4"
    path.write_bytes(film)
    for source in (film, io.BytesIO(film), path, str(path), read_source(path)):
        assert numbers(load_video(source)) == [0, 1, 2, 3, 4]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The times of all frames that were decoded, wanted or not."""
    seen: list[int | None] = []

    def counting(*arguments: Any) -> Iterator[Any]:
        for frame in decode_frames(*arguments):
            seen.append(frame.pts)
            yield frame

    monkeypatch.setattr(video_module, "decode_frames", counting)
    return seen


@pytest.mark.parametrize(
    "encoding",
    [
        {"encoder": {"g": "25", "bf": "3", "crf": "30"}},
        {"encoder": {"x264-params": "open-gop=1:keyint=25:bframes=3"}},
        {"codec": "libx265", "encoder": {"x265-params": "log-level=none:keyint=25:bframes=3:open-gop=1"}},
        {"codec": "libvpx-vp9", "container": "webm", "encoder": {"g": "25", "speed": "8"}},
        {"container": "matroska", "encoder": {"g": "25"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("pixels_a_thread", [1, 10**12], ids=["threads", "one thread"])
def test_skipping_decodes_less_and_changes_nothing(
    encoding: dict[str, Any], pixels_a_thread: int, decoded: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "_PIXELS_A_THREAD", pixels_a_thread)
    film = video_bytes(240, (96, 96), rate=25, **encoding)
    skipped = load_video(film, max_frames=5)
    assert len(decoded) < 160
    everything = [frame.to_ndarray(format="rgb24") for frame in decode_frames(read_source(film), MediaLimits())]
    assert len(everything) == 240
    for number, frame in zip((0, 48, 96, 144, 192), skipped.frames, strict=True):
        assert np.array_equal(frame.pixels, to_patches(everything[number], 70).pixels)


def test_frames_without_usable_times_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrameIndex, "has_distinct_times", lambda self: False)
    video = load_video(video_bytes(30), max_frames=4)
    assert numbers(video) == [0, 7, 15, 22]
    assert video.timestamps == pytest.approx([0, 0.7, 1.5, 2.2])


def index(pts: list[int], keys: list[int]) -> FrameIndex:
    key = np.isin(np.arange(len(pts)), keys)
    return FrameIndex(pts=np.array(pts), key=key, shown=np.ones(len(pts), bool), tick=1.0, end=len(pts))


def test_decoding_starts_at_the_key_frame_shown_before() -> None:
    """Packet 4 is a key frame, but packets 5 and 6 are shown before it and lean on what came earlier."""
    film = index([0, 3, 1, 2, 6, 4, 5, 7], [0, 4])
    assert np.flatnonzero(film.packets_for(np.array([7]))).tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(film.packets_for(np.array([5]))).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(film.packets_for(np.array([0, 4]))).tolist() == [0, 4]
    assert film.display_order().tolist() == [0, 2, 3, 1, 5, 6, 4, 7]


@given(total=st.integers(1, 500), most=st.integers(1, 64))
def test_even_samples_are_distinct_ascending_and_begin_at_the_first(total: int, most: int) -> None:
    chosen = sample_times(np.arange(total) / 25, total / 25, most, None).tolist()
    assert chosen == [i * total // len(chosen) for i in range(min(most, total))]
    assert chosen == sorted(set(chosen))


@given(
    total=st.integers(1, 300), rate=st.sampled_from([12.5, 25.0, 30.0, 60.0]), fps=st.sampled_from([0.3, 1.0, 2.0, 5.0])
)
def test_samples_by_rate_are_shown_at_their_moment(total: int, rate: float, fps: float) -> None:
    times = np.arange(total) / rate
    chosen = sample_times(times, total / rate, 10_000, fps)
    for step, number in enumerate(chosen):
        assert times[number] <= step / fps + 0.0021 <= times[number] + 1 / rate + 0.0042
    assert len(chosen) == max(1, np.ceil(total / rate * fps - 0.002))


@given(
    gaps=st.lists(st.integers(0, 900), min_size=1, max_size=30), fps=st.sampled_from([0.25, 0.5, 1.0, 3.0, 10.0, 100.0])
)
def test_samples_of_any_timing_are_the_frames_seen_at_each_moment(gaps: list[int], fps: float) -> None:
    """Against asking at each moment which frame is shown; times lie off the moments, so that no rounding counts."""
    ends = np.cumsum(gaps) + 0.3
    times, end = np.concatenate(([0], ends[:-1])) / 1000, ends[-1] / 1000
    moments = np.arange(0, max(end, 1e-9), 1 / fps)
    wanted = sorted({int(np.searchsorted(times, moment + 0.002, side="right")) - 1 for moment in moments})
    last = len(times) - 1
    chosen = sample_times(times, end, 10_000, fps).tolist()
    assert [n for n in chosen if n < last] == [n for n in wanted if n < last]
    assert chosen


def test_any_damage_gives_frames_or_the_packages_own_error() -> None:
    seed = np.random.default_rng(0)
    film = video_bytes(12, sound=tone(1, 48_000))
    for _ in range(25):
        broken = bytearray(film)
        for place in seed.integers(0, len(film), 15):
            broken[place] = seed.integers(0, 256)
        with contextlib.suppress(GemmaError):
            assert load_video(bytes(broken), max_frames=4).frames


def test_only_the_sampled_frames_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = video_module.frame_patches
    monkeypatch.setattr(video_module, "frame_patches", lambda *a: made.append(1) or original(*a))
    load_video(video_bytes(30), max_frames=3)
    assert len(made) == 3


def test_no_frame_is_kept_while_the_next_ones_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = []

    def patches(frame: Any, *arguments: Any) -> Any:
        alive.append(sum(type(each) is type(frame) for each in gc.get_objects()))
        return frame_patches(frame, *arguments)

    monkeypatch.setattr(video_module, "frame_patches", patches)
    film = video_bytes(30)
    gc.collect()
    gc.disable()
    try:
        load_video(film, max_frames=9)
    finally:
        gc.enable()
    assert len(alive) == 9
    assert max(alive) < 6

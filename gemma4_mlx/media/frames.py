"""Which frames a video file has, and the decoding of a chosen few in one forward pass.

The index is made by reading packets without decoding them. It tells how many frames there are and when each is shown,
whatever the container's header claims, and from which key frame each one can be reached.
"""

import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.container import check_length, open_container, pick_stream, read_packets, stated_seconds
from gemma4_mlx.media.endings import note_cut
from gemma4_mlx.media.faults import note_faults
from gemma4_mlx.media.sources import MediaLimits, Source
from gemma4_mlx.media.tables import check_tables

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Each decoding thread holds frames of its own, so more than one have to be worth it.
_MOST_THREADS = min(4, os.cpu_count() or 1)
_PIXELS_A_THREAD = 6 * 10**9  # about three seconds of one core
_COLUMNS = 5  # numbers for each packet while the index is made
_SKIP_MARGIN = 16  # packets; leaving out fewer is not worth emptying the decoder for


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """The video packets of a file in the order they are stored, one entry each.

    Attributes:
        pts: int64, when the packet's frame is shown, in ticks of `tick` seconds.
        key: bool, decoding can start here.
        shown: bool, the packet gives a frame (not cut off by an edit list, not VP8's hidden reference).
        tick: seconds.
        end: when the last frame's time is over, in ticks.
        pixel_aspect: how much wider than high a pixel is shown.
        is_timed: whether the file says of every packet when it is shown; else `pts` holds guesses.
    """

    pts: np.ndarray
    key: np.ndarray
    shown: np.ndarray
    tick: float
    end: int
    pixel_aspect: float = 1.0
    is_timed: bool = True

    def display_order(self) -> np.ndarray:
        """The shown packets' numbers in the order their frames are seen."""
        numbers = np.flatnonzero(self.shown)
        return numbers[np.argsort(self.pts[numbers], kind="stable")]

    def start_seconds(self) -> float:
        """When the first frame is shown, on the file's clock."""
        return float(self.pts[self.shown].min() * self.tick)

    def has_distinct_times(self) -> bool:
        """Whether a frame can be recognised by its time."""
        return self.is_timed and bool(np.diff(self.pts[self.display_order()]).all())

    def packets_for(self, wanted: np.ndarray) -> np.ndarray:
        """bool, which packets have to be decoded to see the frames of the packets `wanted`.

        Decoding starts at the last key frame before the packet that is also shown before it: a picture stored behind
        a key frame but shown ahead of it may need pictures from before that key frame.
        """
        needed = np.zeros(len(self.pts), dtype=bool)
        keys = np.flatnonzero(self.key)
        for number in wanted:
            starts = keys[: np.searchsorted(keys, number, side="right")]
            starts = starts[self.pts[starts] <= self.pts[number]]
            needed[starts[-1] if len(starts) else 0 : number + 1] = True
        return needed


def index_frames(source: Source, limits: MediaLimits) -> FrameIndex:
    """Read the packets of the file's video; note if the file is cut short.

    Raises:
        GemmaError: no video, or larger than the limits.
    """
    check_tables(source)
    with note_faults(source, "video"), open_container(source, "video", limits) as container:
        stream = _video_stream(container, source.name, limits)
        packets = array("q")
        for packet in read_packets(container, stream, source):
            shown = _is_shown(packet, stream)
            packets.extend((_ticks(packet), packet.is_keyframe, shown, packet.duration or 0, packet.pts is not None))
            _check_flood(len(packets) // _COLUMNS, source.name, limits)
        index = _as_index(packets, stream, source.name, states_order=container.format.name != "avi")
        seconds = (index.end - int(index.pts.min())) * index.tick
        check_length(seconds, "video", source.name, limits.max_video_seconds)
        note_cut(source, container.format.name, seconds, stated_seconds(container, stream))
        return index


def decode_frames(
    source: Source, limits: MediaLimits, index: FrameIndex | None = None, wanted: np.ndarray | None = None
) -> "Iterator[VideoFrame]":
    """Decode the video once, in order: all of it, or what it takes to see the frames of the packets `wanted`.

    Frames beside the wanted ones may come too. Pixels are the same either way. Frames that can't be decoded are left
    out, with a note.
    """
    import av

    with open_container(source, "video", limits) as container:
        stream = _video_stream(container, source.name, limits)
        needed = None if index is None or wanted is None else index.packets_for(wanted)
        context = stream.codec_context
        context.thread_type, context.thread_count = "AUTO", _threads(stream, needed)
        for packet in _chosen_packets(read_packets(container, stream, source), stream, needed, wanted):
            try:
                yield from context.decode(packet)
            except av.FFmpegError:
                source.note_damage("some of its frames can't be decoded; the others are used")
            if packet is None:
                context.flush_buffers()


def is_mirrored(frame: "VideoFrame") -> bool:
    """Whether the display matrix flips the frame, besides turning it by `frame.rotation`: selfies, some screens.

    Ask it of one frame of a file: av keeps a frame whose side data was looked at until Python collects garbage.
    """
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # av doesn't know all kinds of side data, such as those of spatial video, and then gives none
        return False
    if matrix is None:
        return False
    right_x, right_y, _, down_x, down_y, *_ = struct.unpack("=9i", bytes(matrix))
    return bool(right_x * down_y < right_y * down_x)


def _threads(stream: "VideoStream", needed: np.ndarray | None) -> int:
    if needed is None:
        return _MOST_THREADS
    return min(_MOST_THREADS, 1 + int(needed.sum()) * stream.width * stream.height // _PIXELS_A_THREAD)


def _chosen_packets(
    packets: "Iterator[Packet[Any]]", stream: "VideoStream", needed: np.ndarray | None, wanted: np.ndarray | None
) -> "Iterator[Packet[Any] | None]":
    """The packets to decode; None says that what the decoder still holds has to come out."""
    if needed is None or wanted is None:
        yield from packets
        yield None
        return
    targets = set(wanted.tolist())
    # H.264 marks pictures that no other one refers to: left out unless they are wanted themselves.
    drops_unreferenced = stream.codec_context.name == "h264"
    running = False
    for number, packet in enumerate(packets):
        if running and not needed[number : number + _SKIP_MARGIN].any():
            yield None
            running = False
        if running or needed[number]:
            running = True
            if drops_unreferenced:
                stream.codec_context.skip_frame = "DEFAULT" if number in targets else "NONREF"
            yield packet
    yield None


def _video_stream(container: "InputContainer", name: str, limits: MediaLimits) -> "VideoStream":
    stream = pick_stream(container, "video", name)
    if stream is None:
        cure = ": give it as audio" if container.streams.audio else ""
        raise GemmaError(f"{name}: has no video in it{cure}")
    video: VideoStream = stream  # type: ignore[assignment]
    if not video.width * video.height:
        raise GemmaError(f"{name}: the video has no frames that can be decoded")
    if video.width * video.height > limits.max_frame_pixels:
        raise GemmaError(
            f"{name}: frames of {video.width} x {video.height} pixels are not decoded; scale it down first"
        )
    video.codec_context.options = {"max_pixels": str(limits.max_frame_pixels)}
    return video


def _ticks(packet: "Packet[Any]") -> int:
    """When the packet's frame is shown; files without such times (AVI) say at least when it is decoded."""
    if packet.pts is not None:
        return packet.pts
    return packet.dts if packet.dts is not None else 0


def _is_shown(packet: "Packet[Any]", stream: "VideoStream") -> bool:
    hidden_reference = stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10  # RFC 6386, 9.1: show_frame
    return not (packet.is_discard or hidden_reference)


def _check_flood(count: int, name: str, limits: MediaLimits) -> None:
    if count > limits.max_video_frames:
        raise GemmaError(f"{name}: has more than {limits.max_video_frames} frames; cut it first")


def _as_index(packets: "array[int]", stream: "VideoStream", name: str, *, states_order: bool) -> FrameIndex:
    """From the time, key, shown, duration and timed of each packet, one after the other."""
    table = np.array(packets, dtype=np.int64).reshape(-1, _COLUMNS)
    shown = table[:, 2] != 0
    if not shown.any() or not stream.time_base:
        raise GemmaError(f"{name}: the video has no frames")
    return FrameIndex(
        pts=table[:, 0],
        key=table[:, 1] != 0,
        shown=shown,
        tick=float(stream.time_base),
        end=int((table[:, 0] + table[:, 3])[shown].max()),
        pixel_aspect=float(stream.sample_aspect_ratio or 1),
        is_timed=bool(table[:, 4].all() and (states_order or table[:, 1].all())),
    )

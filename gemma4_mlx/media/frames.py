"""Which frames a video file has, and the decoding of a chosen few in one forward pass.

The index is made by reading packets without decoding them. It tells how many frames there are and when each is shown,
whatever the container's header claims, and from which key frame each one can be reached.
"""

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.container import check_complete, check_length, open_container, pick_stream, stated_seconds
from gemma4_mlx.media.sources import MediaLimits, Source

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Each decoding thread holds frames of its own, so more than one have to be worth it.
_MOST_THREADS = min(4, os.cpu_count() or 1)
_PIXELS_A_THREAD = 6 * 10**9  # about three seconds of one core
_SKIP_MARGIN = 16  # packets; leaving out fewer is not worth emptying the decoder for
_ALLOWED_BAD_PACKETS = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """The video packets of a file in the order they are stored, one entry each.

    Attributes:
        pts: int64, when the packet's frame is shown, in ticks of `tick` seconds.
        key: bool, decoding can start here.
        shown: bool, the packet gives a frame (not cut off by an edit list, not VP8's hidden reference).
        tick: seconds.
        end: when the last frame's time is over, in ticks.
    """

    pts: np.ndarray
    key: np.ndarray
    shown: np.ndarray
    tick: float
    end: int

    def display_order(self) -> np.ndarray:
        """The shown packets' numbers in the order their frames are seen."""
        numbers = np.flatnonzero(self.shown)
        return numbers[np.argsort(self.pts[numbers], kind="stable")]

    def has_distinct_times(self) -> bool:
        """Whether a frame can be recognised by its time."""
        return bool(np.diff(self.pts[self.display_order()]).all())

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
    """Read the packets of the file's video.

    Raises:
        GemmaError: no video, damaged, cut short, or larger than the limits.
    """
    with open_container(source, "video", limits) as container:
        stream = _video_stream(container, source.name, limits)
        packets, ends = array("q"), {stream.index: 0.0}
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                ends[packet.stream_index] = max(ends.get(packet.stream_index, 0.0), _end_seconds(packet))
            if packet.size and packet.stream_index == stream.index:
                packets.extend((packet.pts or 0, packet.is_keyframe, _is_shown(packet, stream), packet.duration or 0))
                _check_flood(len(packets) // 4, source.name, limits)
        index = _as_index(packets, float(stream.time_base or 0), source.name)
        check_length((index.end - int(index.pts.min())) * index.tick, "video", source.name, limits.max_video_seconds)
        _check_ends(container, stream, ends, source.name)
        return index


def decode_frames(
    source: Source, limits: MediaLimits, index: FrameIndex | None = None, wanted: np.ndarray | None = None
) -> "Iterator[VideoFrame]":
    """Decode the video once, in order: all of it, or what it takes to see the frames of the packets `wanted`.

    Frames beside the wanted ones may come too. Pixels are the same either way.
    """
    from av.error import InvalidDataError

    with open_container(source, "video", limits) as container:
        stream = _video_stream(container, source.name, limits)
        needed = None if index is None or wanted is None else index.packets_for(wanted)
        context, sent, bad = stream.codec_context, 0, 0
        context.thread_type, context.thread_count = "AUTO", _threads(stream, needed)
        for packet in _chosen_packets(container, stream, needed, wanted):
            sent += 1
            try:
                yield from context.decode(packet)
            except InvalidDataError:
                bad += 1
            if packet is None:
                context.flush_buffers()
        if bad > max(2, sent * _ALLOWED_BAD_PACKETS):
            raise GemmaError(f"{source.name}: the video is damaged: {bad} of its packets can't be decoded")


def _threads(stream: "VideoStream", needed: np.ndarray | None) -> int:
    if needed is None:
        return _MOST_THREADS
    return min(_MOST_THREADS, 1 + int(needed.sum()) * stream.width * stream.height // _PIXELS_A_THREAD)


def _chosen_packets(
    container: "InputContainer", stream: "VideoStream", needed: np.ndarray | None, wanted: np.ndarray | None
) -> "Iterator[Packet[Any] | None]":
    """The packets to decode; None says that what the decoder still holds has to come out."""
    packets = enumerate(packet for packet in container.demux(stream) if packet.size)
    if needed is None or wanted is None:
        yield from (packet for _, packet in packets)
        yield None
        return
    targets = set(wanted.tolist())
    # H.264 marks pictures that no other one refers to: left out unless they are wanted themselves.
    drops_unreferenced = stream.codec_context.name == "h264"
    running = False
    for number, packet in packets:
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
        raise GemmaError(f"{name}: has no video in it")
    video: VideoStream = stream  # type: ignore[assignment]
    if not 0 < video.width * video.height <= limits.max_frame_pixels:
        raise GemmaError(
            f"{name}: frames of {video.width} x {video.height} pixels are not decoded; scale it down first"
        )
    video.codec_context.options = {"max_pixels": str(limits.max_frame_pixels)}
    return video


def _end_seconds(packet: "Packet[Any]") -> float:
    return float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)


def _is_shown(packet: "Packet[Any]", stream: "VideoStream") -> bool:
    hidden_reference = stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10  # RFC 6386, 9.1: show_frame
    return not (packet.is_discard or hidden_reference)


def _check_flood(count: int, name: str, limits: MediaLimits) -> None:
    if count > limits.max_video_frames:
        raise GemmaError(f"{name}: has more than {limits.max_video_frames} frames; cut it first")


def _as_index(packets: "array[int]", tick: float, name: str) -> FrameIndex:
    """From the time, key, shown and duration of each packet, one behind the other."""
    table = np.array(packets, dtype=np.int64).reshape(-1, 4)
    shown = table[:, 2] != 0
    if not shown.any() or not tick:
        raise GemmaError(f"{name}: the video has no frames")
    return FrameIndex(
        pts=table[:, 0], key=table[:, 1] != 0, shown=shown, tick=tick, end=int((table[:, 0] + table[:, 3])[shown].max())
    )


def _check_ends(container: "InputContainer", stream: "VideoStream", ends: dict[int, float], name: str) -> None:
    """Compare with the length the header states: of the stream in MP4 and MOV, of the longest one in WebM and MKV."""
    stated = stated_seconds(container, stream)
    if stated is not None:
        check_complete(ends[stream.index] - float((stream.start_time or 0) * (stream.time_base or 0)), stated, name)
    elif container.duration:
        check_complete(max(ends.values()), container.duration / 1e6, name)

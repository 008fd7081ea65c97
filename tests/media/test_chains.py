"""Ogg files put together are read one after the other, also if the rate or the channels change."""

import io

import numpy as np
import pytest
from media.media_files import encoded_sound, tone

from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.media.chains import open_links
from gemma4_mlx.media.sources import read_source

FAST = encoded_sound(tone(1.0, 48_000, 440), 48_000, "libopus", "ogg")
FLAC = encoded_sound(tone(1.0, 32_000, 1_000), 32_000, "flac", "ogg")


@pytest.mark.parametrize(
    "links", [(FAST, FLAC), (FLAC, FAST), (FAST, FAST, FAST)], ids=["faster first", "last", "same"]
)
def test_links_follow_one_another(links: tuple[bytes, ...]) -> None:
    sound = load_audio(io.BytesIO(b"".join(links)))
    assert [len(clip) for clip in sound] == [25 * len(links)]
    for number, link in enumerate(links):
        second = np.abs(np.fft.rfft(sound[0][25 * number + 2 : 25 * number + 23].ravel()))
        assert np.argmax(second) / (21 * 0.04) == pytest.approx(440 if link is FAST else 1_000, abs=3)
    assert sound.notes == ()


def test_links_are_found_across_pieces_of_the_file() -> None:
    long = encoded_sound(np.random.default_rng(0).uniform(-1, 1, 700_000).astype(np.float32), 48_000, "flac", "ogg")
    assert len(long) > 2**20
    with open_links(read_source(long + FAST + FAST)) as links:
        sizes = [len(file.read()) for link in links for file in [link.data] if not isinstance(file, str)]
    assert sizes == [len(long), len(FAST), len(FAST)]


def test_other_formats_are_one_link() -> None:
    source = read_source(b"RIFF" + FAST + FAST)
    with open_links(source) as links:
        assert links == [source]


def test_headers_written_twice_are_no_link() -> None:
    second_page = FAST.index(b"OggS", 1)
    headers = FAST[: FAST.index(b"OggS", second_page + 1)]
    sound = load_audio(headers + FAST)
    assert [len(clip) for clip in sound] == [25]
    assert sound.notes == ()

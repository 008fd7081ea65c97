"""TIFF files that Pillow misreads: grey of 12 and 16 bits in which white is zero, and colours shared by pixels.

In a file of its own, so that Pillow is imported when a TIFF comes.
"""

from PIL.TiffImagePlugin import TiffImageFile

_BITS, _COMPRESSION, _PHOTOMETRIC, _SUBSAMPLING = 258, 259, 262, 530
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _YCBCR = 0, 1, 6
_NONE = 1  # compression


class CheckedTiff(TiffImageFile):
    """A TIFF that says what its levels mean.

    Attributes:
        levels: black and white in the file's grey levels, if it has 12 or 16 bits; else None.
        shares_colours: whether several pixels have one colour, uncompressed: Pillow takes each number for a pixel's.
    """

    levels: tuple[int, int] | None = None
    shares_colours = False

    def _setup(self) -> None:
        bits = self.tag_v2.get(_BITS)
        is_plain_ycbcr = self.tag_v2.get(_PHOTOMETRIC) == _YCBCR and self.tag_v2.get(_COMPRESSION, _NONE) == _NONE
        self.shares_colours = is_plain_ycbcr and self.tag_v2.get(_SUBSAMPLING, (2, 2)) != (1, 1)
        if bits in ((12,), (16,)):
            white = 2 ** bits[0] - 1
            is_inverted = self.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
            self.levels = (white, 0) if is_inverted else (0, white)
            if is_inverted:
                self.tag_v2[_PHOTOMETRIC] = _BLACK_IS_ZERO
        super()._setup()

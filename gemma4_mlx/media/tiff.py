"""TIFF files with grey of 12 and 16 bits in which white is zero: Pillow reads them as if black were, or not at all.

In a file of its own, so that Pillow is imported when a TIFF comes.
"""

from PIL.TiffImagePlugin import TiffImageFile

_BITS, _PHOTOMETRIC = 258, 262
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1


class GreyTiff(TiffImageFile):
    """A TIFF that says what its levels mean.

    Attributes:
        levels: black and white in the file's grey levels, if it has 12 or 16 bits; else None.
    """

    levels: tuple[int, int] | None = None

    def _setup(self) -> None:
        bits = self.tag_v2.get(_BITS)
        if bits in ((12,), (16,)):
            white = 2 ** bits[0] - 1
            is_inverted = self.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
            self.levels = (white, 0) if is_inverted else (0, white)
            if is_inverted:
                self.tag_v2[_PHOTOMETRIC] = _BLACK_IS_ZERO
        super()._setup()

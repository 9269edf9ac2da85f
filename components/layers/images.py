"""What convolutional models share: the sizes through which an image shrinks."""

import math


def halvings(height: int, width: int, depth: int) -> list[tuple[int, int]]:
    """Sizes (height, width) from the image inwards after at most `depth` halvings.

    Odd sides round up, and a side of 2 is halved no further.
    """
    sizes = [(height, width)]
    while len(sizes) <= depth and min(sizes[-1]) > 2:
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    return sizes

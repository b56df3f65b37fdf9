"""What JPEG and PNG files say of themselves before their pixels, read without a decoder.

Sources: ITU-T T.81 (JPEG), Annex B; the PNG specification, section 11; Exif 2.32, section 4.6.
"""

import struct
from typing import NamedTuple

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
END_OF_JPEG = b"\xff\xd9"
TAIL = 1024  # bytes at the end of a file that nearly always hold a JPEG's end

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of JPEG that give sides
PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)  # Huffman-coded: baseline, extended, progressive
SCAN, APP1 = 0xDA, 0xE1

GRAY, RGB, PALETTE = 0, 2, 3  # PNG's colour types without alpha


class Header(NamedTuple):
    """What a file says before its pixels."""

    format: str  # as Pillow calls it
    stored: tuple[int, int]  # width and height, not turned yet
    orientation: int  # EXIF's, 1 to 8
    bits: int  # of a channel
    plain: bool  # at most 8 bits, gray or RGB, opaque: every decoder gives the same pixels
    pictures: int  # more than one where the file is an animation
    start: int  # byte at which the pixels begin

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as the image is shown."""
        width, height = self.stored
        return (height, width) if self.orientation >= 5 else (width, height)


def parse(content: bytes) -> Header | None:
    """The header of a JPEG or PNG file; None of others, and where it is damaged or goes on after
    `content`."""
    try:
        if content.startswith(JPEG):
            return parse_jpeg(content)
        if content.startswith(PNG):
            return parse_png(content)
    except (struct.error, IndexError):
        pass
    return None


def parse_jpeg(content: bytes) -> Header | None:
    place, sides, orientation = 2, None, 0
    while True:
        if content[place] != 0xFF:
            return None
        marker = content[place + 1]
        if marker == 0xFF:  # one of any number of fill bytes
            place += 1
            continue
        if marker == SCAN:
            break
        (length,) = struct.unpack_from(">H", content, place + 2)
        if marker in FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", content, place + 4)
            sides = width, height
            plain = marker in PLAIN_FRAMES and bits == 8 and channels in (1, 3)
        elif marker == APP1 and not orientation and content[place + 4 : place + 10] == b"Exif\0\0":
            orientation = parse_orientation(content[place + 10 : place + 2 + length])
        place += 2 + length
    if sides is None or 0 in sides:
        return None
    return Header("JPEG", sides, orientation or 1, bits, plain, 1, place)


def parse_png(content: bytes) -> Header | None:
    width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
    if content[12:16] != b"IHDR" or 0 in (width, height):
        return None
    plain = bits <= 8 and colour in (GRAY, RGB, PALETTE)
    place, orientation, pictures = 8, 1, 1
    while True:
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"IDAT":
            return Header("PNG", (width, height), orientation, bits, plain, pictures, place)
        if kind == b"IEND":
            return None
        if kind == b"tRNS":
            plain = False
        elif kind == b"eXIf":
            orientation = parse_orientation(content[place + 8 : place + 8 + length])
        elif kind == b"acTL":
            (pictures,) = struct.unpack_from(">I", content, place + 8)
        place += 12 + length


def parse_orientation(exif: bytes) -> int:
    """1 to 8: how a photograph is turned to be seen; 1, not at all, where nothing valid says so."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def is_cut(content: bytes, found: Header) -> bool:
    """Whether the end of a JPEG or PNG file is missing. Decoders fill a JPEG's lower part with gray
    then, and of a PNG they take as much memory as it claims to go on."""
    if content.startswith(JPEG):
        # Cameras append films and previews, so the end may be anywhere behind the beginning.
        return END_OF_JPEG not in content[-TAIL:] and content.find(END_OF_JPEG, found.start) < 0
    place = found.start
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        place += 12 + length
        if kind == b"IEND":
            return place > len(content)
    return True

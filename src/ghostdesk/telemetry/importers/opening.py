"""Opens a history file, plain or compressed, as a stream of text that knows how far it is and where it broke.

The compression is told by the first bytes, never by the name. Memory stays bounded whatever the file holds.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import zstandard

from ghostdesk.kernel.errors import ImportFileError
from ghostdesk.telemetry.importers.protocol import MAX_LINE_CHARS

_HEAD_CHARS = 16_384
_PIECE_BYTES = 65_536
_ZSTD_PIECE_BYTES = 1_024  # small, as 1 KiB of zstd can unfold to 32 MiB at once
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


class HistoryFile:
    """An open history file: a `TextSource`. Use it in a ``with`` statement.

    Args:
        path: the file.

    Raises:
        ImportFileError: it cannot be opened, is no plain file, or is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: str | None = None
        """Why the text ended before the file's end, when it did."""
        self._raw = _open_raw(path)
        self.bytes_total = self._raw.seek(0, io.SEEK_END)
        if self.bytes_total == 0:
            self._raw.close()
            raise ImportFileError(f"{path} is empty.", "Give a file with at least a header line.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._raw.close()

    @property
    def bytes_done(self) -> int:
        """How many of the file's bytes (compressed, if it is) have been taken in."""
        return self._raw.tell()

    def digest(self) -> str:
        """BLAKE2b of the file's bytes, in hexadecimal."""
        self._raw.seek(0)
        digest = blake2b(digest_size=20)
        while piece := self._raw.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest()

    def head(self) -> str:
        """The first characters of the text, for telling the format."""
        text = ""
        for chunk in self.chunks():
            text += chunk
            if len(text) >= _HEAD_CHARS:
                break
        return text[:_HEAD_CHARS]

    def lines(self) -> Iterator[str]:
        """See `TextSource.lines`. A last line that a break cut short is left out, as its end may be missing."""
        pending = ""
        for text in self.chunks():
            parts = (pending + text).split("\n")
            pending = parts.pop()[: MAX_LINE_CHARS + 1]
            for part in parts:
                yield part if len(part) <= MAX_LINE_CHARS else part[: MAX_LINE_CHARS + 1]
        if pending and self.broken is None:
            yield pending

    def chunks(self) -> Iterator[str]:
        """See `TextSource.chunks`. Each call starts over."""
        self.broken = None
        decoder: io.IncrementalNewlineDecoder | None = None
        for piece in self._pieces():
            if decoder is None:
                decoder = _decoder(piece)
            if text := decoder.decode(piece):
                yield text
        if decoder is not None and self.broken is None and (text := decoder.decode(b"", final=True)):
            yield text

    def _pieces(self) -> Iterator[bytes]:
        """The decompressed bytes; stops, and says why in `broken`, where they cannot be read."""
        try:
            self._raw.seek(0)
            yield from _decompressed(self._raw)
        except EOFError:
            self.broken = "the compressed data stops in the middle; the file was cut short"
        except _BROKEN as error:
            self.broken = f"the data is damaged ({error})"


def _open_raw(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise ImportFileError(f"{path} is a folder.", "Give one file.")
        if path.exists() and not path.is_file():  # a pipe would have to be read twice
            raise ImportFileError(f"{path} is not a plain file.", "Write its content to a file first.")
        return path.open("rb")
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror}.", "Check its name and its rights.") from None
    except ValueError as error:  # a NUL byte in the name
        raise ImportFileError(f"{str(path)!r} cannot be read: {error}.", "Check its name.") from None


def _decompressed(raw: BinaryIO) -> Iterator[bytes]:
    magic = raw.read(6)
    raw.seek(0)
    reader: gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _zstd_pieces(raw)
        return
    if magic.startswith(b"\x1f\x8b"):
        reader = gzip.GzipFile(fileobj=raw)
    elif magic == b"\xfd7zXZ\x00":
        reader = lzma.LZMAFile(raw)  # noqa: SIM115 - it wraps a file that its owner closes
    elif magic.startswith(b"BZh"):
        reader = bz2.BZ2File(raw)
    else:
        yield from iter(lambda: raw.read(_PIECE_BYTES), b"")
        return
    while piece := reader.read1(_PIECE_BYTES):
        yield piece


def _zstd_pieces(raw: BinaryIO) -> Iterator[bytes]:
    """Frame after frame; the library's own reader ends silently where the data is cut short, so it is done by hand."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    frame, in_frame = decompressor.decompressobj(), False
    while piece := raw.read(_ZSTD_PIECE_BYTES):
        while piece:
            in_frame = True
            if data := frame.decompress(piece):
                yield data
            piece = b""
            if frame.eof:
                piece = frame.unused_data
                frame, in_frame = decompressor.decompressobj(), False
    if in_frame:
        raise EOFError


def _decoder(first: bytes) -> io.IncrementalNewlineDecoder:
    """UTF-8, or UTF-16 where a byte order mark says so (spreadsheets write it); all line ends become a line feed."""
    encoding = "utf-16" if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("replace"), translate=True)

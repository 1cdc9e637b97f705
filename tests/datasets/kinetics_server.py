"""A web server in a thread that serves files as told: whole, cut, silent, wrong about sizes, or deaf to ranges."""

import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ServedFile:
    """A file and how it is served; every request for it is noted in ``requests`` (its headers).

    ``heeds_if_range``: whether a range is refused of a file that has changed; ``range_shift``: by how many bytes ranges
    begin too early; ``cut_after``: the connection closes after so many bytes of a body; ``stall_after``: nothing more
    comes after so many; ``failures``: HTTP statuses of the first answers; ``promised_size``: what the answer claims as
    the size; ``encoding``: what it claims as the compression.
    """

    content: bytes
    etag: str | None = '"v1"'
    ranges: bool = True
    heeds_if_range: bool = True
    range_shift: int = 0
    cut_after: int | None = None
    stall_after: int | None = None
    failures: list[int] = field(default_factory=list)
    promised_size: int | None = None
    range_total: int | None = None
    has_length: bool = True
    encoding: str | None = None
    requests: list[dict[str, str]] = field(default_factory=list)


class FileServer:
    """``with FileServer() as server: server.files["/a"] = ServedFile(b"...")``; ``server.url`` is its address."""

    def __init__(self) -> None:
        self.files: dict[str, ServedFile] = {}
        self.released = threading.Event()  # ends the silence of stalled answers

    def __enter__(self) -> "FileServer":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def do_HEAD(self) -> None:
                outer._answer(self, with_body=False)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, with_body: bool = True) -> None:
        file = self.files.get(request.path)
        if file is None:
            request.send_error(404)
            return
        file.requests.append(dict(request.headers.items()))
        if file.failures:
            request.send_error(file.failures.pop(0))
            return
        start, end = 0, len(file.content)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        same = request.headers.get("If-Range", file.etag) == file.etag or not file.heeds_if_range
        is_partial = bool(match) and file.ranges and same
        if match and is_partial:
            start = int(match[1]) - file.range_shift
            end = min(end, int(match[2]) + 1) if match[2] else end
            if start >= end:
                request.send_error(416)
                return
        body = file.content[start:end]
        request.send_response(206 if is_partial else 200)
        if is_partial:
            total = file.range_total or len(file.content)
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
        if file.has_length:
            request.send_header("Content-Length", str(len(body) if file.promised_size is None else file.promised_size))
        if file.etag:
            request.send_header("ETag", file.etag)
        if file.encoding:
            request.send_header("Content-Encoding", file.encoding)
        request.end_headers()
        request.close_connection = True
        if not with_body:
            return
        limits = [limit for limit in (file.cut_after, file.stall_after) if limit is not None]
        request.wfile.write(body[: min(limits, default=len(body))])
        request.wfile.flush()
        if file.stall_after is not None and file.stall_after < len(body):
            self.released.wait(30)

"""What can be set of a server."""

from __future__ import annotations

from pathlib import Path

import attrs

from papermage_core.plugin.spec import option

__all__ = ["ServerOptions"]


@attrs.frozen(kw_only=True)
class ServerOptions:
    """What can be typed as ``key=value``."""

    model_name_or_path: str | None = option(None, help="the checkpoint folder, or hf:owner/name on Hugging Face's hub")
    recipe: Path | None = option(None, help="in its place a recipe: its file or folder")
    host: str = option(
        "127.0.0.1", help="address to listen at; 0.0.0.0 lets in whoever reaches this machine: there is no password"
    )
    port: int = option(8000, help="port to listen at; 0 takes a free one", ge=0, le=65535)
    layer_name: str = option("predictions", help="layer to put the entities in; a recipe says it for each stage")
    entity_name: str | None = option(None, help="layer of the units; none: as in training")
    context_name: str | None = option(None, help="layer of the contexts; none: as in training")
    processors: tuple[str, ...] = option(
        (), help="processors that add layers first, in order; their options as processors.NAME.key=value"
    )
    reader: str | None = option(
        None, help="document reader of uploaded PDFs; none: pdf; its options as reader.key=value"
    )
    batch_size: int | None = option(None, help="windows in a batch; none: the encoder's own", ge=1)
    device: str | None = option(None, help="cpu, cuda, cuda:1; none: the GPU where there is one")
    num_threads: int | None = option(None, help="threads of torch in a process; none: as torch decides", ge=1, le=4096)
    processes: int = option(1, help="processes that hold the model", ge=1, le=1024)
    pdf_processes: int = option(2, help="processes that read uploaded files", ge=1, le=1024)
    batch_documents: int = option(32, help="most requests that go through the model together", ge=1)
    batch_wait: float = option(0.003, help="seconds that an idle model waits for more requests", ge=0, le=10)
    queue_size: int = option(128, help="requests that may wait; more are sent away with 503", ge=1)
    max_megabytes: float = option(20, help="largest body of a request", gt=0)
    max_documents: int = option(100, help="most documents in a request", ge=1)
    max_characters: int = option(1_000_000, help="most characters of text in a request", ge=1)
    max_units: int = option(200_000, help="most units, such as tokens, in a request", ge=1)
    max_pages: int = option(200, help="most pages of an uploaded PDF", ge=1)
    timeout: float = option(60, help="seconds in which a request is answered, or given up", gt=0)
    body_timeout: float = option(30, help="seconds in which a request must have been sent", gt=0)
    pdf_timeout: float = option(30, help="seconds in which an uploaded file must have been read", gt=0)
    stop_timeout: float = option(30, help="seconds that requests in hand get when the server is stopped", gt=0)
    plugins_path: tuple[Path, ...] = option((), help="plugin files to use without installing them")

    @property
    def max_bytes(self) -> int:
        """The largest body of a request."""
        return int(self.max_megabytes * 1_000_000)

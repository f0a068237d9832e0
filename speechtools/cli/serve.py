"""``speechtools serve``."""

import click

from speechtools.cli.command import command
from speechtools.cli.common import module_option


@command(
    examples=[
        "speechtools serve                                          # http://127.0.0.1:8000",
        "speechtools serve --port 9000 --max_seconds 120",
        "curl --data-binary @call.wav http://127.0.0.1:8000/score   # while it runs",
    ]
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="The address to listen at. 0.0.0.0 is all of this computer's: everybody in its network can then use the page.",
)
@click.option("--model", metavar="MODEL", help="The model of quality, as for `speechtools score`.")
@click.option("--speaker_model", metavar="MODEL", help="The model of voices, as for `speechtools verify`.")
@click.option("--enhancer", metavar="MODEL", help="The enhancer, as for `speechtools enhance`.")
@click.option(
    "--max_megabytes",
    type=click.FloatRange(min=0, min_open=True),
    default=50.0,
    show_default=True,
    metavar="MB",
    help="Larger uploads are refused.",
)
@click.option(
    "--max_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Longer recordings are refused.",
)
@module_option
def serve(
    port: int,
    host: str,
    model: str | None,
    speaker_model: str | None,
    enhancer: str | None,
    max_megabytes: float,
    max_seconds: float,
) -> int:
    """Serve a page in the browser: score a recording, compare voices, find the speakers, enhance. Needs the extra web.

    The page works without a network, and nothing leaves this computer. Programs score a recording with POST /score,
    whose body, or form field `file`, is the recording; the answer is JSON.
    """
    from speechtools.web import server
    from speechtools.web.analysis import Limits, Models

    models = Models(Limits(max_megabytes, max_seconds), model, speaker_model, enhancer)
    server.check_packages()
    models.quality  # noqa: B018 — a model that cannot be loaded is reported before the page opens
    server.serve(models, host, port)
    return 0

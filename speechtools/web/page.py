"""The page: score a recording, compare and enroll voices, find who speaks when, enhance."""

import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from speechtools import audio
from speechtools.audio.turns import rttm_lines
from speechtools.core.errors import SpeechtoolsError
from speechtools.quality.regions import default_threshold
from speechtools.web.analysis import Models, Scored, as_dict, new_file, region_label, region_table, score, summary

#: Files of a session are deleted after so long (s).
_MAX_AGE = 1800
#: Wide tables scroll inside, and text has enough contrast.
STYLE = """
.gradio-container { max-width: 60rem !important; margin: auto; }
.score p { font-size: 1.1rem; }
.figure img { padding-top: 2rem; }
@media (max-width: 40rem) {
  .figure { overflow-x: auto !important; max-width: calc(100vw - 4rem); }
  .figure .image-container { width: 40rem; }
}
footer { display: none !important; }
"""
#: Events are the page's own; programs use the endpoint.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_INTRODUCTION = """
# speechtools
How good does a recording sound, why, and who speaks in it? Everything is computed on this computer; recordings are
deleted after half an hour.
"""


def theme() -> gr.themes.Base:
    """The look of the page, with the fonts of the system: nothing is fetched."""
    return gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def _reported(function: Callable) -> Callable:
    """Show errors about recordings and options as messages on the page."""

    @wraps(function)
    def reported(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except SpeechtoolsError as error:
            raise gr.Error(str(error), title="This did not work", print_exception=False) from error

    return reported


def make_page(models: Models) -> gr.Blocks:
    """Build the page."""
    folder = Path(tempfile.mkdtemp(prefix="speechtools-page-"))
    with gr.Blocks(title="speechtools", analytics_enabled=False, delete_cache=(300, _MAX_AGE)) as page:
        gr.Markdown(_INTRODUCTION)
        with gr.Tab("Quality"):
            _quality_tab(models, folder)
        with gr.Tab("Same voice?"):
            _comparison_tab(models)
        with gr.Tab("Voices"):
            _voices_tab(models)
        with gr.Tab("Who speaks when"):
            _diarization_tab(models, folder)
        with gr.Tab("Enhance"):
            _enhancement_tab(models)
        with gr.Tab("Limits"):
            gr.Markdown(_limits(models))
    return page


def _recording(label: str) -> gr.Audio:
    return gr.Audio(label=label, sources=["upload", "microphone"], type="filepath")


def _quality_tab(models: Models, folder: Path) -> None:
    recording = _recording("Recording: drop a file, or record")
    words = gr.Markdown(elem_id="score", elem_classes="score")
    figure = gr.Image(
        label="Spectrogram, causes, and frame scores", interactive=False, visible=False, elem_classes="figure"
    )
    regions = gr.Radio(
        label="What lowers the score: choose a region to hear it", choices=[], type="index", visible=False
    )
    heard = gr.Audio(label="The region", interactive=False, visible=False, autoplay=True)
    with gr.Row():
        table = gr.DownloadButton("Regions (CSV)", visible=False)
        everything = gr.DownloadButton("Everything (JSON)", visible=False)
    kept = gr.State(None)

    @_reported
    def show(path: str | None) -> list:
        if path is None:
            return [None, "", *(gr.update(visible=False) for _ in range(5))]
        scored = score(models, path)
        stem = Path(scored.name).stem
        return [
            scored,
            f"**{summary(models, scored)}**",
            gr.update(value=_figure(models, scored, folder), visible=True),
            gr.update(choices=list(map(region_label, scored.regions)), value=None, visible=bool(scored.regions)),
            gr.update(value=None, visible=False),
            gr.update(value=new_file(folder, f"{stem}.csv", region_table(scored)), visible=True),
            gr.update(value=new_file(folder, f"{stem}.json", as_dict(scored)), visible=True),
        ]

    @_reported
    def play(scored: Scored | None, number: int | None) -> Any:
        if scored is None or number is None:
            return gr.update(visible=False)
        rate, region = models.quality.sample_rate, scored.regions[number]
        part = scored.samples[round(region.start * rate) : round(region.end * rate)]
        return gr.update(value=(rate, audio.writing.to_int16(part)), visible=True)

    outputs = [kept, words, figure, regions, heard, table, everything]
    recording.change(show, recording, outputs, show_progress="minimal", **_PRIVATE)
    regions.change(play, [kept, regions], heard, **_PRIVATE)


def _figure(models: Models, scored: Scored, folder: Path) -> str:
    from speechtools.quality.plots import frame_scores
    from speechtools.quality.region_plots import explained

    path, rate = Path(new_file(folder, f"{Path(scored.name).stem}.png", b"")), models.quality.sample_rate
    if models.quality.measure is None:
        frame_scores(path, [("", scored.samples, scored.report)], rate)
    else:
        explained(path, "", scored.samples, scored.report, rate, default_threshold(models.quality.measure))
    return str(path)


def _comparison_tab(models: Models) -> None:
    with gr.Row():
        first, second = _recording("One recording"), _recording("Another")
    button, words = gr.Button("Compare the voices", variant="primary"), gr.Markdown(elem_classes="score")

    @_reported
    def compare(one: str | None, other: str | None) -> str:
        if one is None or other is None:
            raise SpeechtoolsError("Two recordings are needed. Drop or record both.")
        verifier = models.verifier()
        with models.turn():
            first_voice, other_voice = (models.read(path, verifier.sample_rate) for path in (one, other))
            verdict = verifier.verify_files(first_voice, other_voice)
        return f"**{'The same voice' if verdict.accepted else 'Different voices'}**, {_how_sure(verdict)}"

    button.click(compare, [first, second], words, **_PRIVATE)


def _how_sure(verdict: Any) -> str:
    if verdict.probability is None:
        return f"score {verdict.score:.2f}, threshold {verdict.threshold:.2f}"
    return f"with a probability of {verdict.probability:.1%} of the same voice (score {verdict.score:.2f})"


def _voices_tab(models: Models) -> None:
    gr.Markdown("Voices are kept until the page is closed, and nobody else can see them.")
    kept = gr.State({})
    with gr.Row():
        name = gr.Textbox(label="Name", max_lines=1)
        samples = gr.File(label="Recordings of this voice, better three or more", file_count="multiple")
    enroll, voices = gr.Button("Enroll"), gr.Markdown()
    unknown = _recording("Whose voice is this?")
    identify, words = gr.Button("Identify", variant="primary"), gr.Markdown(elem_classes="score")

    @_reported
    def add(known: dict, given: str, paths: list[str] | None) -> tuple[dict, str]:
        verifier = models.verifier()
        with models.turn():
            recordings = [models.read(path, verifier.sample_rate) for path in paths or []]
            verifier.enroll(given.strip(), recordings)
        known = known | {given.strip(): verifier.details(given.strip())}
        return known, f"Enrolled: {', '.join(sorted(known))}"

    @_reported
    def find(known: dict, path: str | None) -> str:
        if path is None:
            raise SpeechtoolsError("A recording is needed. Drop one, or record one.")
        verifier = models.verifier()
        for known_name, voice in known.items():
            verifier.restore_voice(known_name, voice)
        with models.turn():
            matches = verifier.identify(models.read(path, verifier.sample_rate), top=5)
        rows = [f"| {match.name} | {_how_sure(match)} |" for match in matches]
        best = matches[0].name if matches[0].accepted else "None of the enrolled voices"
        return "\n".join([f"**{best}**", "", "| voice | |", "| --- | --- |", *rows])

    enroll.click(add, [kept, name, samples], [kept, voices], **_PRIVATE)
    identify.click(find, [kept, unknown], words, **_PRIVATE)


def _diarization_tab(models: Models, folder: Path) -> None:
    recording = _recording("Conversation")
    button, words = gr.Button("Find the speakers", variant="primary"), gr.Markdown(elem_classes="score")
    turns = gr.Dataframe(headers=["start (s)", "end (s)", "speaker"], interactive=False, visible=False)
    rttm = gr.DownloadButton("Turns (RTTM)", visible=False)

    @_reported
    def find(path: str | None) -> list:
        if path is None:
            raise SpeechtoolsError("A recording is needed. Drop one, or record one.")
        with models.turn():
            found = models.diarization.diarize_file(models.read(path, models.diarization.sample_rate))
        if not found.turns:
            return [found.no_speech, gr.update(visible=False), gr.update(visible=False)]
        times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.talk_times.items())
        rows = [[round(turn.start, 2), round(turn.end, 2), turn.speaker] for turn in found.turns]
        stem = Path(path).stem
        content = "\n".join(rttm_lines(stem, found.turns)) + "\n"
        return [
            f"**{times}**",
            gr.update(value=rows, visible=True),
            gr.update(value=new_file(folder, f"{stem}.rttm", content), visible=True),
        ]

    button.click(find, recording, [words, turns, rttm], **_PRIVATE)


def _enhancement_tab(models: Models) -> None:
    recording = _recording("Noisy recording")
    button, words = gr.Button("Enhance", variant="primary"), gr.Markdown(elem_classes="score")
    enhanced = gr.Audio(label="Enhanced", interactive=False, visible=False)

    @_reported
    def enhance(path: str | None) -> list:
        if path is None:
            raise SpeechtoolsError("A recording is needed. Drop one, or record one.")
        with models.turn():
            before = models.read(path, models.enhancer.sample_rate)
            after = models.enhancer.enhance_file(before)
            scores = [
                models.quality.assess_samples(part, models.enhancer.sample_rate).score for part in (before, after)
            ]
        samples = (models.enhancer.sample_rate, audio.writing.to_int16(after))
        return [f"**{scores[0]:.2f} before, {scores[1]:.2f} after**", gr.update(value=samples, visible=True)]

    button.click(enhance, recording, [words, enhanced], **_PRIVATE)


def _limits(models: Models) -> str:
    return f"""
Scores are predictions: of a recording alone, without its original, by networks that have learned from simulated faults.

- **Quality** is that of speech. Music, several voices at once, and voices of synthesizers were not in the training; nor
  were codecs and enhancers made of neural networks.
- **Voices**: about one of ten strangers is accepted at the default threshold. Do not decide anything with it that could
  do harm.
- **Enhancement** removes noise, and some speech with it.
- This server takes recordings of up to {models.limits.megabytes:g} MB and {models.limits.seconds:g} s.

The cards of the models, in `speechtools/pretrained`, say what each reaches on which test.
"""

"""Damaged files of text: manifests, lists of trials, tables of results and lists of checksums."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import soundfile
from fuzzing import mutations

from speechtools.cli.score import ScoreRow
from speechtools.cli.tables import file_cell, open_tables
from speechtools.core.checksums import LIST, find_damaged, write_checksums
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.rows import check_manifest, iterate_rows, read_rows, write_rows
from speechtools.enhancement.data import JudgedRow
from speechtools.quality.rows import QualityRow
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.pairs import read_pairs


class Manifests:
    """Check and read damaged manifests."""

    def __init__(self, folder: Path):
        wav = folder / "a.wav"
        soundfile.write(wav, np.full(1600, 0.1), 16000)
        common = {"duration": 0.1, "speech": wav, "score": 2.5, "measure": "raw_nb", "speaker": "anna", "path": wav}
        noise = {"noise_type": "rain", "noise": wav, "snr_db": 5.0}
        quality = [QualityRow(ID=f"clean-{number}", subset="clean", **common) for number in range(2)]
        quality += [QualityRow(ID=f"noisy-{number}", subset="noisy", **common, **noise) for number in range(2)]
        judged = [JudgedRow(ID=f"é,{n}", seed=n, heard=n > 1, stoi=0.5, **common, **noise) for n in range(3)]
        np.save(folder / "0.npy", np.ones(800, np.int16))
        (folder / "about.json").write_text('{"sample_rate": 16000, "list": [1, 2]}')
        cut = {"path": "p", "duration": 0.0125, "shard": "0.npy", "samples": 200}
        spoken = [SpeakerRow(utt_id=f"u{n}", speaker=f"s{n // 2}", start=200 * n, **cut) for n in range(4)]
        self.path, self.folder, self.models = folder / "manifest.csv", folder, [QualityRow, JudgedRow, SpeakerRow]
        self.contents = []
        for model, rows in zip(self.models, [quality, judged, spoken], strict=True):
            write_rows(self.path, model, rows)
            self.contents.append(self.path.read_bytes())
            assert read_rows(self.path, model, check=True) == rows
        self.beside = {name: (folder / name).read_bytes() for name in ("0.npy", "about.json", "a.wav")}

    def __call__(self, rng: np.random.Generator) -> str:
        """Check one damaged manifest, or one whose recordings are damaged; return what became of it."""
        number = int(rng.integers(3))
        content, model = self.contents[number], self.models[number]
        damaged = sorted(self.beside)[rng.integers(3)] if rng.integers(5) == 0 else None
        if damaged is None:
            content = mutations.mutate(rng, content, mutations.TEXT)
        else:
            (self.folder / damaged).write_bytes(mutations.mutate(rng, self.beside[damaged], mutations.TEXT))
        self.path.write_bytes(content)
        outcome = "refused"
        try:
            with contextlib.suppress(CorpusError):
                _, count, problems = check_manifest(self.path)
                assert all(isinstance(problem, str) for problem in problems) and count >= 0
                outcome = "has problems" if problems else "read"
            with contextlib.suppress(CorpusError):
                rows = read_rows(self.path, model)
                assert all(type(row) is model and row.cells() for row in rows)
                assert list(iterate_rows(self.path, model)) == rows
                read_rows(self.path, model, check=True)
                assert len(rows) <= len(content)
        finally:
            if damaged is not None:
                (self.folder / damaged).write_bytes(self.beside[damaged])
        return outcome


class TrialLists:
    """Read damaged lists of trials."""

    CONTENT = '1 a.wav b.wav\n0 a.wav c.wav\n1\ta b.wav\tç.wav\n0,d.wav,a.wav\n\n1, "x,y.wav", d.wav\n'.encode()

    def __init__(self, folder: Path):
        self.path = folder / "trials.txt"

    def __call__(self, rng: np.random.Generator) -> str:
        """Read one damaged list; return what became of it."""
        self.path.write_bytes(mutations.mutate(rng, self.CONTENT, mutations.TEXT))
        try:
            pairs = read_pairs(self.path)
        except CorpusError:
            return "refused"
        assert {pair.target for pair in pairs} == {True, False}
        assert all(pair.first and pair.second and isinstance(pair.first, str) for pair in pairs)
        for name in (pairs[0].first, pairs[-1].second):
            os.path.exists(self.path.parent / name)
        return "read"


class Tables:
    """Continue damaged tables of ``speechtools score --resume``."""

    def __init__(self, folder: Path):
        self.paths = {"csv": folder / "scores.csv", "jsonl": folder / "scores.jsonl"}
        rows = [ScoreRow(file=f"{name}.wav", score=2.5, seconds=1.0, degraded_seconds=0.5) for name in "abcd"]
        rows += [ScoreRow(file='e,"é.wav', error="e is damaged, or worse.")]
        tables = open_tables(ScoreRow, str(self.paths["csv"]), str(self.paths["jsonl"]), False, False)
        with contextlib.ExitStack() as stack:
            for table in tables:
                table.open(stack, [])
                for row in rows:
                    table.write(row, {"frame_scores": [1.0, 2.0]})
        self.contents = {form: path.read_bytes() for form, path in self.paths.items()}

    def __call__(self, rng: np.random.Generator) -> str:
        """Continue one damaged table; what it keeps must be a table."""
        form = ("csv", "jsonl")[rng.integers(2)]
        path = self.paths[form]
        path.write_bytes(mutations.mutate(rng, self.contents[form], mutations.TEXT))
        try:
            (table,) = open_tables(
                ScoreRow, str(path) if form == "csv" else None, str(path) if form == "jsonl" else None, False, True
            )
        except ConfigError:
            return "refused"
        with contextlib.ExitStack() as stack:
            table.open(stack, list(table.finished))
        if form == "csv":
            rows = read_rows(path, ScoreRow)
            files = [row.file for row in rows]
            assert all(row.score is not None and not row.error for row in rows)
        else:
            contents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            files = [file_cell(content["file"]) for content in contents]
            assert all(isinstance(content["score"], float | int) and not content["error"] for content in contents)
        assert sorted(files) == sorted(table.finished)
        return "continued"


class ChecksumLists:
    """Check a folder whose list of checksums is damaged."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("a", "b", "ç"):
            (folder / name).write_text(name * 10)
        write_checksums(folder, [folder / name for name in ("a", "b", "ç")])
        self.content = (folder / LIST).read_bytes()

    def __call__(self, rng: np.random.Generator) -> str:
        """Check the folder once; return what became of it."""
        (self.folder / LIST).write_bytes(mutations.mutate(rng, self.content, mutations.TEXT))
        try:
            damaged = find_damaged(self.folder, full=bool(rng.integers(2)))
        except CorpusError:
            return "refused"
        assert all(isinstance(reason, str) for reason in damaged.values())
        return "differs" if damaged else "agrees"

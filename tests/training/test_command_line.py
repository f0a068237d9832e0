"""The command line of a run: its help, and the options that belong to SpeechBrain."""

import subprocess
import sys

import pytest

from speechtools.training.command_line import parse


def test_help_lists_the_options_of_the_yaml(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_text(
        "seed: 1\nname: run\noutput_folder: !ref results/<name>/<seed>\nrate: 0.25  # of what it measures\n"
        "nothing: null\nnet: !new:torch.nn.Linear {in_features: 1, out_features: 2}\n"
    )
    with pytest.raises(SystemExit):
        parse([str(path), "--help"])
    lines = capsys.readouterr().out.splitlines()
    lines = [line.split() for line in lines[lines.index(f"options of {path} and their values there:") + 1 :]]
    assert ["--seed=1"] in lines and ["--output_folder=results/<name>/<seed>"] in lines
    assert ["--nothing=null"] in lines and not any(word.startswith("--net=") for line in lines for word in line)
    with pytest.raises(SystemExit):
        parse(["--help"])
    assert "yaml before --help" in capsys.readouterr().out


def test_a_reader_of_the_help_that_exits_early_is_no_error(tmp_path):
    (tmp_path / "x.yaml").write_text("".join(f"option_{number}: 1\n" for number in range(1000)))
    program = "from speechtools.training.command_line import parse; parse(['x.yaml', '--help'])"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert "pipe" not in error.lower() and "Traceback" not in error


def test_options_of_speechbrain_reach_it():
    run_opts = parse(["x.yaml", "--device", "cpu", "--max_grad_norm=1.5", "--debug"]).run_opts
    assert (run_opts.device, run_opts.max_grad_norm, run_opts.debug) == ("cpu", 1.5, True)

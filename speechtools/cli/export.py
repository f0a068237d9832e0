"""``speechtools export``."""

import click

from speechtools.cli.command import command
from speechtools.cli.common import module_option
from speechtools.core.errors import ConfigError, printable


@command(
    examples=[
        "speechtools export quality-net q.onnx",
        "speechtools export speaker s.onnx --int8",
        "speechtools score call.wav --model q.onnx                  # without torch",
    ]
)
@click.argument("model")
@click.argument("output", metavar="OUTPUT.onnx")
@click.option("--int8", is_flag=True, help="Quantise the weights of the network to 8 bits: a quarter of the size.")
@click.option("--overwrite", is_flag=True, help="Replace an existing OUTPUT.")
@module_option
def export(model: str, output: str, int8: bool, overwrite: bool) -> int:
    """Write a model to an ONNX file, with which ONNX Runtime computes without torch.

    MODEL is the `pretrained` folder of a recipe, an id owner/name on the Hugging Face hub, or a bundled model:
    quality-net, speaker or enhancer. The file takes waveforms: features are included, and so is all that the model
    needs. The results are compared with those of torch on recordings of several lengths; if they differ by more than
    0.0001, nothing is written.

    Needs the extra onnx: pip install "speechtools[onnx]".
    """
    from speechtools.core.onnx_file import check_target

    path = check_target(output, overwrite, "OUTPUT")
    from speechtools import inference
    from speechtools.core.model_folder import interface_of
    from speechtools.core.pretrained import find_folder

    folder = find_folder(model)
    name = interface_of(folder)
    if name not in inference.__all__:
        raise ConfigError(
            f"{model} is a model for {name or 'an interface that it does not name'}, which is none of "
            "speechtools.inference. Export it in Python, with its method to_onnx."
        )
    interface = getattr(inference, str(name))
    result = interface.from_hparams(folder, run_opts={"device": "cpu"}).to_onnx(path, int8, overwrite)
    print(f"exported: {printable(path)} ({path.stat().st_size / 1e6:.1f} MB)")
    print(f"largest difference from torch: {result.difference:.1g}" + (" before quantisation" if int8 else ""))
    if int8:
        print(f"int8, on the sample recordings: {result.change_text}")
    return 0

"""Writes checkpoint/testdata/published.json: the parameter lists of the networks that OpenAI published, by its own code.

    git clone https://github.com/openai/improved-diffusion && git clone https://github.com/openai/guided-diffusion
    pip install torch==2.11.0 numpy
    python scripts/make_published_testdata.py improved-diffusion guided-diffusion

Each file has the number of tensors, that of values, and the sha256 of the lines "NAME SHAPE", such as "out.2.bias 3", sorted.
The flags are those of the READMEs.
"""
import argparse
import hashlib
import importlib
import json
import pathlib
import sys
import types

import torch

IMPROVED = {
    "cifar10_uncond_50M_500K.pt": "image_size=32 num_channels=128 num_res_blocks=3 learn_sigma=True",
    "imagenet64_uncond_100M_1500K.pt": "image_size=64 num_channels=128 num_res_blocks=3 learn_sigma=True",
    "imagenet64_cond_270M_250K.pt": "image_size=64 num_channels=192 num_res_blocks=3 learn_sigma=True class_cond=True",
    "upsample_cond_500K.pt": "large_size=256 small_size=64 num_channels=192 num_res_blocks=2 learn_sigma=True class_cond=True",
    "lsun_uncond_100M_1200K_bs128.pt": "image_size=256 num_channels=128 num_res_blocks=2 num_heads=1 learn_sigma=True use_scale_shift_norm=False "
                                       "attention_resolutions=16",
}
ADM = "attention_resolutions=32,16,8 learn_sigma=True num_res_blocks=2 resblock_updown=True use_scale_shift_norm=True "
GUIDED = {
    "64x64_diffusion.pt": ADM + "class_cond=True image_size=64 num_channels=192 num_head_channels=64 num_res_blocks=3 use_new_attention_order=True",
    "128x128_diffusion.pt": ADM + "class_cond=True image_size=128 num_channels=256 num_heads=4",
    "256x256_diffusion.pt": ADM + "class_cond=True image_size=256 num_channels=256 num_head_channels=64",
    "256x256_diffusion_uncond.pt": ADM + "class_cond=False image_size=256 num_channels=256 num_head_channels=64",
    "512x512_diffusion.pt": ADM + "class_cond=True image_size=512 num_channels=256 num_head_channels=64",
    "64_256_upsampler.pt": ADM + "class_cond=True large_size=256 small_size=64 num_channels=192 num_heads=4",
    "128_512_upsampler.pt": ADM + "class_cond=True large_size=512 small_size=128 num_channels=192 num_head_channels=64 attention_resolutions=32,16",
    "64x64_classifier.pt": "image_size=64 classifier_depth=4",
    "128x128_classifier.pt": "image_size=128",
    "256x256_classifier.pt": "image_size=256",
    "512x512_classifier.pt": "image_size=512",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("improved", help="a checkout of improved-diffusion")
    parser.add_argument("guided", help="a checkout of guided-diffusion")
    args = parser.parse_args()
    sys.path[:0] = [args.improved, args.guided]
    sys.modules["blobfile"] = sys.modules["mpi4py"] = types.ModuleType("unused")  # their networks need neither
    lists = {}
    for package, files in (("improved_diffusion", IMPROVED), ("guided_diffusion", GUIDED)):
        script = importlib.import_module(package + ".script_util")
        for name, flags in files.items():
            lists[name] = describe(network(script, dict(flag.split("=") for flag in flags.split())))
    path = pathlib.Path(__file__).resolve().parent.parent / "checkpoint" / "testdata" / "published.json"
    path.write_text(json.dumps(lists, indent=1) + "\n")


def network(script, flags):
    """The network of the flags, without memory for its weights."""
    kind = "classifier" if not any("channels" in flag for flag in flags) else "sr_model" if "large_size" in flags else "model"
    defaults = {"classifier": "classifier_defaults", "sr_model": "sr_model_and_diffusion_defaults",
                "model": "model_and_diffusion_defaults"}[kind]
    settings = dict(getattr(script, defaults)())
    for name, text in flags.items():
        old = settings[name]
        settings[name] = text == "True" if isinstance(old, bool) else int(text) if isinstance(old, int) else text
    with torch.device("meta"):
        if kind == "classifier":
            return script.create_classifier(**settings)
        create = getattr(script, "sr_create_model_and_diffusion" if kind == "sr_model" else "create_model_and_diffusion")
        return create(**settings)[0]


def describe(model):
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    lines = sorted("%s %s\n" % (name, "x".join(map(str, shape))) for name, shape in shapes.items())
    return {"tensors": len(shapes), "values": sum(tensor.numel() for tensor in model.state_dict().values()),
            "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


if __name__ == "__main__":
    main()

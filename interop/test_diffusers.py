"""diffusers: stock classes load what `iddpm export --format diffusers` writes, and compute and sample the same."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file


CPU = ["--device", "cpu", "--precision", "fp32", "--threads", 1]

# Networks of the published ones' shapes, but small: the attention order, the heads, the resampling and the timesteps are theirs.
SMALL = "--image-size 16 --num-channels 32 --num-res-blocks 1 --channel-mult 1,2 --attention-resolutions 8 --learn-sigma"
SHAPES = {
    "cifar10": f"{SMALL} --num-heads 4 --diffusion-steps 400 --noise-schedule cosine",  # rescaled timesteps
    "imagenet64": f"{SMALL} --num-heads 1 --attention-resolutions 16,8 --class-cond --num-classes 5 --diffusion-steps 400 --noise-schedule cosine --rescale-timesteps false",
    "lsun": f"{SMALL} --num-heads 1 --attention-resolutions 8 --use-scale-shift-norm false --diffusion-steps 1000 --noise-schedule linear",
    "adm-64": f"{SMALL} --num-head-channels 16 --attention-resolutions 16,8 --use-new-attention-order --resblock-updown --class-cond --num-classes 5 --diffusion-steps 1000 --noise-schedule cosine",
    "adm-256": f"{SMALL} --num-head-channels 16 --attention-resolutions 16,8 --resblock-updown --diffusion-steps 1000 --noise-schedule linear --channel-mult 1,1,2",
    "fixed-variance": "--image-size 16 --num-channels 32 --num-res-blocks 2 --channel-mult 1,2 --attention-resolutions 16 --num-head-channels 16 --predict xstart --diffusion-steps 1000 --noise-schedule linear",
}


@pytest.fixture(autouse=True, scope="module")
def without_gradients():
    with torch.no_grad():
        yield


def images(folder):
    """Five noisy images of five classes."""
    from PIL import Image

    folder.mkdir()
    for i in range(5):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{i}_noise.png")
    return folder


@pytest.fixture(scope="module", params=SHAPES)
def exported(request, iddpm, tmp_path_factory):
    """A trained network, and the folder of diffusers that it is exported to."""
    folder = tmp_path_factory.mktemp(request.param)
    iddpm("train", *SHAPES[request.param].split(), *CPU, "--data-dir", images(folder / "images"), "--batch-size", 5, "--lr", "1e-2", "--steps", 3,
          "--ema-rate", 0.1, "--run-dir", folder / "run")
    iddpm("export", folder / "run", "--format", "diffusers", "-o", folder / "out", "--license", "mit")
    return folder


def config_of(iddpm, model):
    return json.loads(iddpm("info", model, "--json"))["config"]


@pytest.fixture(scope="session")
def forward(built):
    """forward(checkpoint, in, out, x, t, y) evaluates iddpm's network once."""
    program = built("./interop/forward")

    def run(checkpoint, source, target, **arrays):
        np.savez(source, **arrays)
        subprocess.run([program, checkpoint, source, target], check=True)
        return np.load(target)

    return run


def samples(iddpm, model, *flags):
    result = json.loads(iddpm("sample", model, *CPU, "--num-samples", 4, "--json", *flags))
    return np.load(result["samples"]), result


def test_loads_strictly(exported):
    pipeline = DDPMPipeline.from_pretrained(exported / "out")
    weights = load_file(exported / "out/unet/diffusion_pytorch_model.safetensors")
    UNet2DModel.from_config(UNet2DModel.load_config(exported / "out/unet")).load_state_dict(weights, strict=True)
    assert all(torch.equal(value, weights[name]) for name, value in pipeline.unet.state_dict().items())
    assert "license: mit" in (exported / "out/README.md").read_text()


def noise():
    return np.random.default_rng(7).standard_normal((4, 3, 16, 16)).astype(np.float32)


def test_forward_agrees(iddpm, forward, exported, tmp_path):
    config, pipeline = config_of(iddpm, exported / "run"), DDPMPipeline.from_pretrained(exported / "out")
    steps = config["diffusion"]["diffusion_steps"]
    arrays = {"x": noise(), "t": np.array([0, 1, steps // 2, steps - 1])} | ({"y": np.arange(4)} if config["model"]["class_cond"] else {})
    ours = forward(exported / "run", tmp_path / "in.npz", tmp_path / "out.npy", **arrays)
    labels = {"class_labels": torch.from_numpy(arrays["y"])} if "y" in arrays else {}
    theirs = pipeline.unet(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["t"]), **labels).sample.numpy()
    assert theirs.std() > 0.01 and np.abs(ours - theirs).max() <= 1e-5


def test_pipelines_run(iddpm, exported, tmp_path):
    """Stock pipelines sample; with DDIM's scheduler the learned variances are left out."""
    if config_of(iddpm, exported / "run")["model"]["class_cond"]:
        pytest.skip("stock pipelines pass no classes")
    iddpm("export", exported / "run", "--format", "diffusers", "--scheduler", "ddim", "-o", tmp_path / "ddim")
    for pipeline in DDPMPipeline.from_pretrained(exported / "out"), DDIMPipeline.from_pretrained(tmp_path / "ddim"):
        pipeline.set_progress_bar_config(disable=True)
        images = pipeline(batch_size=2, num_inference_steps=2, output_type="np").images
        assert images.shape == (2, 16, 16, 3) and 0 < images.std() < 1


def test_ddim_gives_the_same_pixels(iddpm, exported, tmp_path):
    """50 steps of DDIM from given latents."""
    original = config_of(iddpm, exported / "run")
    x = torch.from_numpy(noise())
    np.savez(tmp_path / "latents.npz", arr_0=x.numpy())
    classes = ["--class", "0,1,2,3"] if original["model"]["class_cond"] else []
    ours, _ = samples(iddpm, exported / "run", "--latents", tmp_path / "latents.npz", "--use-ddim", "--timestep-respacing", "ddim50", "-o", tmp_path / "ours", *classes)
    pipeline = DDPMPipeline.from_pretrained(exported / "out")
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, set_alpha_to_one=True)
    scheduler.set_timesteps(50)
    labels = {"class_labels": torch.arange(4)} if classes else {}
    for t in scheduler.timesteps:
        x = scheduler.step(pipeline.unet(x, t, **labels).sample[:, :3], t, x, use_clipped_model_output=True).prev_sample
    theirs = ((x + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    off = np.abs(theirs.astype(int) - ours["arr_0"].astype(int))
    assert off.max() <= 1 and (off == 0).mean() >= 0.999


# UNet2DModel as diffusers' own training script makes it, but small, and networks with its other options.
THEIRS = {
    "training script": (dict(), dict()),
    "x_0": (dict(down_block_types=("AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "AttnUpBlock2D")), dict(prediction_type="sample", variance_type="fixed_large")),
    "padding and time embedding": (dict(downsample_padding=0, freq_shift=1, flip_sin_to_cos=False, norm_eps=1e-6, attention_head_dim=None), dict(beta_schedule="squaredcos_cap_v2")),
    "resnet": (dict(downsample_type="resnet", upsample_type="resnet", down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
                    out_channels=6, num_class_embeds=5, resnet_time_scale_shift="scale_shift", attn_norm_num_groups=32), dict(variance_type="learned_range", num_train_timesteps=400)),
}


@pytest.fixture(scope="module", params=THEIRS)
def theirs(request, tmp_path_factory):
    """A pipeline that stock diffusers has saved, and its folder."""
    unet, scheduler = THEIRS[request.param]
    torch.manual_seed(3)
    network = UNet2DModel(**dict(sample_size=16, layers_per_block=2, block_out_channels=(32, 64), down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")) | unet)
    for value in network.parameters():
        value.copy_(torch.randn(value.shape) * value.shape[-1] ** -0.5 / 4 + (value.dim() == 1) * (value == 1))
    pipeline = DDPMPipeline(network, DDPMScheduler(**scheduler))
    folder = tmp_path_factory.mktemp("theirs") / "out"
    pipeline.save_pretrained(folder)
    return pipeline, folder


def test_forward_of_theirs_agrees(iddpm, forward, theirs, tmp_path):
    pipeline, folder = theirs
    classes = pipeline.unet.config.num_class_embeds
    arrays = {"x": noise(), "t": np.array([0, 1, 200, 399])} | ({"y": np.arange(4)} if classes else {})
    labels = {"class_labels": torch.from_numpy(arrays["y"])} if classes else {}
    want = pipeline.unet(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["t"]), **labels).sample.numpy()
    for path in folder, folder / "unet/diffusion_pytorch_model.safetensors":
        assert np.abs(forward(path, tmp_path / "in.npz", tmp_path / "out.npy", **arrays) - want).max() <= 1e-5 * max(1, np.abs(want).max())


def test_forward_of_shards_agrees(forward, theirs, tmp_path):
    """Weights that stock diffusers has saved in several files."""
    pipeline, folder = theirs
    shutil.copytree(folder, tmp_path / "sharded", ignore=shutil.ignore_patterns("*.safetensors"))
    pipeline.unet.save_pretrained(tmp_path / "sharded/unet", max_shard_size="500KB")
    files = sorted(path.name for path in (tmp_path / "sharded/unet").glob("*.safetensors*"))
    assert len(files) > 2 and files[-1] == "diffusion_pytorch_model.safetensors.index.json"
    classes = pipeline.unet.config.num_class_embeds
    arrays = {"x": noise(), "t": np.array([0, 1, 200, 399])} | ({"y": np.arange(4)} if classes else {})
    one, several = (forward(path, tmp_path / "in.npz", tmp_path / "out.npy", **arrays) for path in (folder, tmp_path / "sharded"))
    assert np.array_equal(one, several)


def test_theirs_in_commands(iddpm, theirs, tmp_path):
    """sample, nll, export and --init-from."""
    pipeline, folder = theirs
    samples(iddpm, folder, "--use-ddim", "--timestep-respacing", "ddim4", "-o", tmp_path / "samples")
    data = images(tmp_path / "images")
    assert json.loads(iddpm("nll", folder, *CPU, "--data-dir", data, "--timestep-respacing", 4, "--json", "-o", tmp_path / "nll"))["total_bpd"] > 0
    iddpm("export", folder, "--format", "diffusers", "-o", tmp_path / "again")
    again = DDPMPipeline.from_pretrained(tmp_path / "again")
    ours, stock = again.unet.state_dict(), pipeline.unet.state_dict()
    swapped = not pipeline.unet.config.flip_sin_to_cos
    assert all(torch.equal(ours[name], value) for name, value in stock.items() if not (swapped and name == "time_embedding.linear_1.weight"))
    assert torch.allclose(again.scheduler.betas, pipeline.scheduler.betas, rtol=1e-4)
    config = config_of(iddpm, folder)
    model = [f"--{name.replace('_', '-')}={str(config['model'][name]).lower()}" for name in
             ("image_size", "num_channels", "num_res_blocks", "num_heads", "num_head_channels", "learn_sigma", "class_cond", "use_scale_shift_norm", "resblock_updown")]
    model += [f"--{name.replace('_', '-')}={config['model'].get(name, 0)}" for name in ("freq_shift",)] + (["--norm-eps=1e-6", "--asymmetric-padding"] if swapped else [])
    model += ["--num-classes=5"] if config["model"]["class_cond"] else []
    lists = [f"--channel-mult={','.join(map(str, config['model']['channel_mult']))}", f"--attention-resolutions={','.join(map(str, config['model']['attention_resolutions']))}"]
    iddpm("train", "--init-from", folder, *model, *lists, *CPU, "--data-dir", data, "--batch-size", 5, "--steps", 1, "--run-dir", tmp_path / "run")

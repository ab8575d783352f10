"Fine-tuning a network of diffusers by the same loop, on a tiny Wan and its tiny autoencoder."

import contextlib
import io
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

from fvdm import training
from fvdm.backbones import open_backbone, tiny_backbone
from fvdm.cli import main
from fvdm.codecs import import_diffusers, load_codec
from fvdm.data import encode, open_dataset
from fvdm.files import save_tensors
from fvdm.tasks import Pipeline
from fvdm.training import list_checkpoints, read_checkpoint, tuning

import_diffusers()  # before transformers, which peft imports
pytest.importorskip("peft")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder of diffusers, clips of a world encoded by its autoencoder, and a prompt."
    place, diffusers = tmp_path_factory.mktemp("tuning"), import_diffusers()
    tiny_backbone("WanTransformer3DModel").save_pretrained(place / "wan/transformer")
    diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(place / "wan/scheduler")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        statistics = {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
        small = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
        diffusers.AutoencoderKLWan(**small, **statistics).save_pretrained(place / "wan/vae")
        save_tensors({"texts": torch.randn(1, 5, 16), "empty": torch.zeros(5, 16)}, place / "prompt.safetensors")
    (place / "wan/model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))
    encode(open_dataset("faces", None, 9, 1, 32), load_codec(place / "wan"), 6, place / "latents", progress=False)
    return place


def config_of(place, **changes):
    "The configuration of a run on these clips."
    changes = {"lora": "4"} | changes
    own = {"backbone": str(place / "wan"), "prompts": str(place / "prompt.safetensors"), "precision": "fp32"}
    start = training.preset("smoke", **own, steps=4, batch=2, ema=0.5, lr=0.05, **changes)
    return tuning.tuning_config(start, training.command.Latents(place / "latents").shape)


def run(config, place, name, **how):
    return training.train(
        config, training.command.Latents(place / "latents"), place / name, progress=False, save_every=2, **how
    )


WHAT = {"lora": {"lora": "4"}, "full": {"lora": None, "full": True}}


@pytest.mark.parametrize("what", WHAT)
def test_a_stopped_run_goes_on_bit_for_bit(place, what):
    "Weights, average and optimizer of a run that was stopped in the middle are those of one that was not."
    config = config_of(place, **WHAT[what])
    assert (config.frames, config.path, config.shift) == (3, "flow", 3.0)  # 9 frames are 3 latents
    run(config, place, f"{what}-whole")
    stops = iter([False, False, True, True])
    _, step, _ = run(config, place, f"{what}-parts", stop=lambda: next(stops))
    assert step == 2
    run(config, place, f"{what}-parts")
    ends = [read_checkpoint(list_checkpoints(place / f"{what}-{how}")[-1])[1] for how in ("whole", "parts")]
    for group in ("model", "ema", "optimizer"):
        assert ends[0][group].keys() == ends[1][group].keys()
        assert all(torch.equal(value, ends[1][group][name]) for name, value in ends[0][group].items()), group


def test_a_run_goes_on_with_the_weights_that_it_began_with(place, tmp_path):
    "A backbone is known by its weights: elsewhere it is the same, and others under its name are not."
    config = config_of(place)
    run(replace(config, steps=2), place, "moved")
    shutil.copytree(place / "wan", tmp_path / "copy")
    run(replace(config, backbone=str(tmp_path / "copy")), place, "moved")
    tiny_backbone("WanTransformer3DModel", seed=1).save_pretrained(tmp_path / "copy/transformer")
    with pytest.raises(ValueError, match="another configuration .the backbone's weights were [0-9a-f]{12} and are"):
        run(replace(config, backbone=str(tmp_path / "copy"), steps=6), place, "moved")


def test_a_checkpoint_holds_what_is_trained(place):
    "Of a LoRA nothing else is on disk; its average is neither where it began nor where it is."
    run(config_of(place), place, "kept")
    begun = tuning.build_tuned(config_of(place), training.command.Latents(place / "latents")).state_dict()
    _, saved = read_checkpoint(list_checkpoints(place / "kept")[-1])
    assert saved["model"].keys() == begun.keys()
    assert all("lora_" in name for name in saved["model"])
    assert len(saved["optimizer"]) == 3 * len(begun)
    for name, value in begun.items():
        assert not torch.equal(saved["ema"][name], saved["model"][name]), name
        assert not torch.equal(saved["ema"][name], value), name


def test_diffusers_reads_what_a_run_leaves(place):
    "The averaged network of a run, diffusers with its LoRA, and our pipeline with it say the same."
    net, _, _ = run(config_of(place), place, "read")
    x, t, y = torch.randn(2, 3, 4, 4, 4), torch.rand(2, 3) * 1000, torch.randn(2, 5, 16)
    diffusers = import_diffusers()
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer", "scheduler"))
    model = diffusers.WanTransformer3DModel.from_pretrained(place / "wan/transformer")
    pipe = diffusers.WanPipeline(transformer=model, **parts)
    pipe.load_lora_weights(place / "read")
    with torch.no_grad():
        ours, scalar = net.net(x, t[:, :1].expand(-1, 3), y), t[:, 0]
        assert_close(pipe.transformer(x.transpose(1, 2), scalar, y).sample.transpose(1, 2), ours, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(open_backbone(place / "wan")(x, t, y), net.net(x, t, y), atol=1e-3)
        opened = Pipeline.from_pretrained(place / "wan", frames=9, size=32, tuned=place / "read")
        assert_close(opened.net.net(x, t, y), net.net(x, t, y), atol=1e-5, rtol=1e-5)
    with safe_open(place / "read" / tuning.LORA_FILE, "pt") as file:
        assert all(name.startswith("transformer.blocks.") for name in file.keys())


def test_all_weights_take_the_place_of_the_folders(place):
    "A run on all weights leaves a transformer that our pipeline opens in place of the folder's."
    net, _, _ = run(config_of(place, **WHAT["full"]), place, "all")
    x, t, y = torch.randn(2, 3, 4, 4, 4), torch.rand(2, 3) * 1000, torch.randn(2, 5, 16)
    opened = Pipeline.from_pretrained(place / "wan", frames=9, size=32, tuned=place / "all")
    with torch.no_grad():
        assert_close(opened.net.net(x, t, y), net.net(x, t, y), atol=1e-5, rtol=1e-5)


def test_the_shell(place):
    "Train, animate; a scheme; what a run leaves is named."
    words = ["--backbone", place / "wan", "--latents", place / "latents", "--prompts", place / "prompt.safetensors"]
    words += ["--preset", "smoke", "--steps", "2", "--batch", "2", "--lora", "2,to_q", "--out", place / "shell"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["train", *map(str, words), "--timesteps", "0.5 shared, 0.5 held(1)"]) == 0
        assert f"the averaged weights are in {place}/shell/{tuning.LORA_FILE}" in said.getvalue()
        assert main(["train", *map(str, words), "--dry-run"]) == 0
        assert "hours on an H100" in said.getvalue()
        see = ["--network", place / "wan", "--tuned", place / "shell", "--clip-frames", "9", "--size", "32", "32"]
        assert main(["generate", *map(str, see), "--steps", "2", "-o", str(place / "out.gif")]) == 0
    assert (place / "out.gif").stat().st_size > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--prompts": None}, "prompts is None, but a WanTransformer3DModel is told a text"),
        ({"--lora": "4,q_proj"}, "lora has the target 'q_proj', but may have"),
        ({"--lora": "0"}, "lora is '0', but must begin with a rank of at least 1"),
        ({"--latents": None}, "latents is None, but a backbone is trained on encoded clips"),
        ({"--backbone": "nowhere"}, "backbone is 'nowhere', but must be a folder of diffusers"),
        ({"--lora": None}, "so one of lora (a rank) and full (all weights) must be"),
    ],
)
def test_mistakes_are_one_line(place, capsys, changes, said):
    "Each mistake is named in one line, and nothing is written."
    words = {"--backbone": place / "wan", "--latents": place / "latents", "--prompts": place / "prompt.safetensors"}
    words |= {"--lora": "4", "--out": place / "wrong", "--preset": "smoke"} | changes
    assert main(["train", *(str(w) for pair in words.items() if pair[1] is not None for w in pair)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list((place / "wrong").glob("[a-z]*"))

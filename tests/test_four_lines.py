"The four lines of 09g_tuning, as a stranger types them: a whole pipeline of diffusers, text encoder and all, but tiny."

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch

from fvdm import worlds
from fvdm.backbones import tiny_backbone
from fvdm.cli import main
from fvdm.codecs import import_diffusers
from fvdm.data import Latents
from fvdm.files import read_tensors

import_diffusers()  # before transformers
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

PICTURE = Path(__file__).resolve().parents[1] / "examples/face.png"
WORDS = ["<pad>", "</s>", "<unk>", "▁a", "▁face", "▁boat", "▁"]


def save_text_encoder(folder):
    "A T5 tokenizer of a few words, and a T5 encoder of one layer, in Wan's layout."
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.Unigram([(word, -float(i)) for i, word in enumerate(WORDS)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "tokenizer")
    size = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = transformers.UMT5Config(vocab_size=len(WORDS), **size)
    transformers.UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    "A folder as `WanPipeline.save_pretrained` leaves it, and videos."
    place, diffusers = tmp_path_factory.mktemp("lines"), import_diffusers()
    folder = place / "wan"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny_backbone("WanTransformer3DModel").save_pretrained(folder / "transformer")
        small = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
        statistics = {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
        diffusers.AutoencoderKLWan(**small, **statistics).save_pretrained(folder / "vae")
        save_text_encoder(folder)
    shifted = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    diffusers.UniPCMultistepScheduler(**shifted).save_pretrained(folder / "scheduler")
    parts = {
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    }
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"} | parts))
    worlds.export("faces", place / "videos", clips=3, frames=24, size=64)
    return place


def shell(*words):
    "What a command prints; it must succeed."
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([str(word) for word in words]) == 0
    return said.getvalue()


def test_four_lines(wan):
    "Clips that are no squares, a prompt, a LoRA, an animation: each line reads what the one before it wrote."
    network, latents, text, run = wan / "wan", wan / "latents", wan / "face.safetensors", wan / "run"
    how = ("--frames", 9, "--size", 32, 48, "--clips", 4, "--codec", network, "--out", latents)
    shell("data", "encode", "folder", wan / "videos", *how)
    assert Latents(latents).shape == (3, 4, 4, 6)  # 9 frames are 3 latents; 32x48 pixels are 4x6
    said = shell("prompts", "a face", "--network", network, "-o", text)
    told = read_tensors(text)
    assert told["texts"].shape[0] == 1 and told["texts"].shape[2] == 16 and told["texts"].any()
    assert told["empty"].shape == told["texts"].shape[1:] and not torch.equal(told["empty"], told["texts"][0])
    assert "1 prompt of" in said
    how = ("--lora", 2, "--prompts", text, "--latents", latents, "--out", run, "--preset", "smoke", "--batch", 2)
    shell("train", "--backbone", network, *how, "--checkpointing", "--precision", "fp32")
    see = ("--network", network, "--tuned", run, "--clip-frames", 9, "--size", 32, 48, "--steps", 2)
    shell("animate", PICTURE, *see, "--prompt", "a face", "-o", wan / "face.mp4")
    assert (wan / "face.mp4").stat().st_size > 0

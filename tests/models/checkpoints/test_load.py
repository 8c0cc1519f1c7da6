"""Checkpoints of the published models: exact or refused, by name, with what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.checkpoints import build as shared
from models.checkpoints import rename as renames
from models.checkpoints.layout import NetworkFile, check_folder
from models.checkpoints.load import load_networks, read_config
from models.checkpoints.random_init import position_table, randomise, seed_of
from models.checkpoints.tensors import TensorFile
from models.errors import LiveheadError, WeightsError
from models.registry import find_card, measured_models
from models.sd15.config import SD15Card
from tests.support.checkpoints import write_checkpoint

pytestmark = pytest.mark.unit

VAE = {**shared.VAE_CONFIG, "block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4}
WAV2VEC = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
WHISPER = {"n_audio_state": 32, "n_audio_head": 2, "n_audio_layer": 1, "n_audio_ctx": 20}


class Denoiser(nn.Module):
    """The smallest network with a temporal module among others."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 3, 3)
        inside = nn.ModuleDict({"motion_modules": nn.Linear(3, 3)})
        self.down_blocks = nn.ModuleList([inside])


def files_of(name: str) -> tuple[NetworkFile, ...]:
    """Where the model's networks are stored."""
    card = find_card(name)
    assert isinstance(card, SD15Card)
    return card.files


def load_all(
    name: str, folder: Path, into: dict[str, nn.Module], dtype: torch.dtype = torch.float32
) -> None:
    """Load every network of a model, from a folder that was looked through first."""
    check_folder(folder, name, files_of(name))
    load_networks(folder, files_of(name), into, dtype)


def networks(name: str) -> dict[str, nn.Module]:
    """Tiny networks on the meta device, by the model's names."""
    made: dict[str, Callable[[], nn.Module]] = {
        "denoising_unet": Denoiser,
        "vae": lambda: shared.build_vae(VAE),
        "wav2vec": lambda: shared.build_wav2vec(WAV2VEC),
        "whisper": lambda: shared.build_whisper(WHISPER),
    }
    with torch.device("meta"):
        return {
            file.network: made.get(file.network, lambda: nn.Linear(2, 3))()
            for file in files_of(name)
        }


def written(name: str, folder: Path, seed: int = 1) -> dict[str, nn.Module]:
    """A random checkpoint in its publisher's layout."""
    made = networks(name)
    randomise(made, seed, dict.fromkeys(made, torch.float32))
    write_checkpoint(name, folder, made, {"whisper": WHISPER}, {"vae": VAE})
    return made


def refused(name: str, folder: Path) -> str:
    """The one error that a folder gives."""
    with pytest.raises(WeightsError) as caught:
        load_all(name, folder, networks(name))
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(measured_models()))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_written_is_loaded(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = written(name, tmp_path)
    ours = networks(name)
    load_all(name, tmp_path, ours, dtype)
    exact = {file.network for file in files_of(name) if file.fp32}
    for network, module in ours.items():
        kind = torch.float32 if network in exact else dtype
        for key, value in module.state_dict().items():
            assert torch.equal(value, theirs[network].state_dict()[key].to(kind)), (network, key)
        assert not module.training
    assert read_config(tmp_path) == {"whisper": WHISPER}


def test_stored_tensors_are_used_where_they_lie(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(4)}, tmp_path / "a.safetensors")
    torch.save({"w": torch.zeros(4)}, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        assert TensorFile(tmp_path / name)["w"].tolist() == [0.0] * 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no folder" in refused("hallo", tmp_path / "none")
    written("hallo", tmp_path)
    (tmp_path / "hallo" / "net.pth").unlink()
    text = refused("hallo", tmp_path)
    assert "hallo/net.pth" in text and "nothing is downloaded" in text


@pytest.mark.parametrize("damage", ["missing", "extra", "misshapen", "of a wrong kind"])
def test_a_tensor_that_does_not_fit_is_named(damage: str, tmp_path: Path) -> None:
    written("memo", tmp_path)
    path = tmp_path / "image_proj" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    if damage == "missing":
        del state["bias"]
    elif damage == "extra":
        state["foreign"] = torch.zeros(1)
    elif damage == "misshapen":
        state["bias"] = torch.zeros(7)
    else:
        state["bias"] = torch.zeros(state["bias"].shape, dtype=torch.int32)
    save_file(state, path)
    text = refused("memo", tmp_path)
    assert str(path) in text and f"1 {damage}" in text and "publisher" in text
    words = {"missing": "bias", "extra": "foreign", "misshapen": "(7,)"}
    assert words.get(damage, "bias int32") in text


def test_a_shared_file_holds_nothing_else(tmp_path: Path) -> None:
    written("hallo", tmp_path)
    path = tmp_path / "hallo" / "net.pth"
    torch.save({**torch.load(path, weights_only=True), "strange.w": torch.zeros(1)}, path)
    assert "strange.w" in refused("hallo", tmp_path)


class Harmful:
    """A pickle that would call something when read."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("code of a checkpoint was run",))


@pytest.mark.parametrize(
    "content", ["truncated", "text", "code", "list", "empty", "numbers", "unnamed"]
)
@pytest.mark.parametrize("place", ["face_locator.pth", "sd-vae-ft-mse"])
def test_a_damaged_or_foreign_file_is_named(content: str, place: str, tmp_path: Path) -> None:
    written("echomimic", tmp_path)
    path = tmp_path / place
    if path.is_dir():
        path /= "diffusion_pytorch_model.safetensors"
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif content == "text":
        path.write_text("<html>404</html>")
    elif content == "code":
        path.write_bytes(pickle.dumps({"w": Harmful()}))
    elif content == "list":
        torch.save([torch.zeros(1)], path)
    elif content == "numbers":
        torch.save({"w": 1}, path)
    elif content == "unnamed":
        torch.save({1: torch.zeros(1)}, path)
    else:
        path.write_bytes(b"")
    text = refused("echomimic", tmp_path)
    assert str(path) in text and "copy it again" in text


def test_every_constructor_value_of_the_autoencoder_counts() -> None:
    made = shared.build_vae(
        {**VAE, "mid_block_add_attention": False, "_class_name": "AutoencoderKL"}
    )
    assert not any(".attentions." in name for name in made.state_dict())
    assert any(".attentions." in name for name in shared.build_vae(VAE).state_dict())


@pytest.mark.parametrize("value", [None, "x", {}])
@pytest.mark.parametrize("kind", ["vae", "wav2vec", "whisper"])
def test_a_configuration_that_describes_no_network_is_refused(kind: str, value: object) -> None:
    config = {"vae": VAE, "wav2vec": WAV2VEC, "whisper": WHISPER}[kind]
    with pytest.raises(WeightsError, match=kind):
        shared.build_checked(shared.LIBRARY[kind], dict.fromkeys(config, value), kind)


def test_both_files_of_a_denoiser_unite_exactly(tmp_path: Path) -> None:
    written("echomimic", tmp_path)
    path = tmp_path / "motion_module.pth"
    motion = torch.load(path, weights_only=True)
    assert all(".motion_modules." in key for key in motion)
    name = next(iter(motion))
    torch.save({**motion, name: torch.zeros(9)}, path)
    assert "misshapen" in refused("echomimic", tmp_path)
    torch.save({**motion, "module." + name: motion[name]}, path)
    text = refused("echomimic", tmp_path)
    assert "motion_module.pth has 1 extra" in text and "denoising_unet.pth" not in text
    torch.save({key: motion[key] for key in motion if key != name}, path)
    text = refused("echomimic", tmp_path)
    assert "motion_module.pth has 1 missing" in text and name in text


def test_the_denoising_file_wins(tmp_path: Path) -> None:
    written("echomimic", tmp_path)
    name = "down_blocks.0.motion_modules.bias"
    path = tmp_path / "denoising_unet.pth"
    both = {**torch.load(path, weights_only=True), name: torch.full((3,), 5.0)}
    torch.save(both, path)
    ours = networks("echomimic")
    load_all("echomimic", tmp_path, ours)
    assert ours["denoising_unet"].state_dict()[name].tolist() == [5.0] * 3


def test_older_attention_names_of_the_autoencoder_are_known(tmp_path: Path) -> None:
    theirs = written("echomimic", tmp_path)["vae"].state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, value in theirs.items():
        name = key
        for new, word in old.items():
            name = name.replace(f".{new}.", f".{word}.") if ".attentions." in key else name
        state[name] = value[:, :, None, None] if name != key and value.ndim == 2 else value
    assert set(state) != set(theirs)
    save_file(
        {key: value.contiguous() for key, value in state.items()},
        tmp_path / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors",
    )
    ours = networks("echomimic")
    load_all("echomimic", tmp_path, ours)
    assert all(torch.equal(theirs[k], v) for k, v in ours["vae"].state_dict().items())


def test_names_of_the_audio_encoders_go_both_ways() -> None:
    for name in shared.build_whisper().state_dict():
        assert renames.whisper_name(renames.whisper_published(name)) == name
    for name in shared.build_wav2vec(WAV2VEC).state_dict():
        assert renames.wav2vec_name(renames.wav2vec_published(name)) == name
    assert renames.wav2vec_name("lm_head.weight") is None
    assert renames.whisper_name("decoder.ln.weight") is None


def test_random_values_have_a_seed() -> None:
    first, again, other = (networks("echomimic") for _ in range(3))
    for made, seed in ((first, 3), (again, 3), (other, 4)):
        randomise(made, seed, dict.fromkeys(made, torch.bfloat16))
    one, two, three = (m["reference_unet"].state_dict()["weight"] for m in (first, again, other))
    assert torch.equal(one, two) and not torch.equal(one, three)
    assert seed_of("random:12") == 12
    with pytest.raises(LiveheadError, match="whole number"):
        seed_of("random:x")


def test_the_position_table_is_sine_and_cosine() -> None:
    table = position_table(5, 8)
    assert table.shape == (1, 5, 8)
    assert table[0, 3, 2] == pytest.approx(torch.sin(torch.tensor(3 * 1e4 ** (-2 / 8))).item())
    assert table[0, 0].tolist() == [0.0, 1.0] * 4

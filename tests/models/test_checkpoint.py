"""Checkpoints on disk: sealed by rename, own parts inside, parts that passed through referred to and never copied."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.contract import Checkpoint
from harness.errors import ModelError, StepError
from harness.models.checkpoint import content_hash, is_sealed, load, open_input, seal, weight_files


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def make_part(folder, name, content=b"weights"):
    path = folder / name
    path.mkdir(parents=True)
    (path / f"{name}.safetensors").write_bytes(content)
    return path


@pytest.fixture
def sealed(cache):
    """Step ``one`` made a tokenizer and a model."""
    folder = cache / "partial" / "one"
    parts = {name: make_part(folder, name) for name in ("tokenizer", "model")}
    made = Checkpoint("causal", parts, made=frozenset(parts), opened_by={"quantization": {"load_in_4bit": True}})
    seal(made, folder, cache, "one")
    return load(cache, "one")


def following(cache, given):
    """Step ``two`` adds adapters to what it was given."""
    folder = cache / "partial" / "two"
    return given.with_parts(peft=make_part(folder, "peft")), folder


def test_what_was_sealed_is_what_is_loaded(sealed, cache):
    assert sealed.kind == "causal" and sealed.made == {"tokenizer", "model"}
    assert sealed.opened_by == {"quantization": {"load_in_4bit": True}}
    assert {path.parent for path in sealed.parts.values()} == {cache / "checkpoints" / "one"}
    assert (sealed.parts["model"] / "model.safetensors").read_bytes() == b"weights"
    assert not (cache / "partial" / "one").exists(), "renamed, not copied"


def test_parts_that_passed_through_are_referred_to(sealed, cache):
    made, folder = following(cache, sealed)
    seal(made, folder, cache, "two")
    second = load(cache, "two")
    assert second.made == {"peft"}
    assert second.parts["model"] == sealed.parts["model"]
    assert sorted(path.name for path in (cache / "checkpoints" / "two").iterdir()) == ["checkpoint.json", "peft"]


def test_a_cache_can_be_moved(sealed, cache, tmp_path):
    made, folder = following(cache, sealed)
    seal(made, folder, cache, "two")
    shutil.move(cache, tmp_path / "elsewhere")
    assert is_sealed(tmp_path / "elsewhere", "two")
    assert all(
        path.is_relative_to(tmp_path / "elsewhere") for path in load(tmp_path / "elsewhere", "two").parts.values()
    )


def test_a_part_from_outside_the_cache_keeps_its_place(cache, tmp_path):
    given = Checkpoint("causal", {"model": make_part(tmp_path / "models", "model")})
    made, folder = following(cache, given)
    seal(made, folder, cache, "two")
    assert load(cache, "two").parts["model"] == tmp_path / "models" / "model"


def test_a_part_made_outside_the_output_is_refused(sealed, cache, tmp_path):
    folder = cache / "partial" / "two"
    folder.mkdir(parents=True)
    with pytest.raises(StepError, match="part 'peft' was made outside the step's output folder"):
        seal(sealed.with_parts(peft=make_part(tmp_path, "peft")), folder, cache, "two")
    assert not is_sealed(cache, "two")


def test_a_part_that_does_not_exist_is_refused(sealed, cache):
    folder = cache / "partial" / "two"
    folder.mkdir(parents=True)
    with pytest.raises(StepError, match="part 'peft' of the checkpoint does not exist: peft"):
        seal(sealed.with_parts(peft=folder / "peft"), folder, cache, "two")
    assert not is_sealed(cache, "two")


def test_nothing_looks_whole_before_it_is(cache):
    assert not is_sealed(cache, "one")
    make_part(cache / "checkpoints" / "one", "model")
    assert not is_sealed(cache, "one"), "no checkpoint.json"
    (cache / "checkpoints" / "one" / "checkpoint.json").write_text('{"kind": "causal"')
    assert not is_sealed(cache, "one"), "half a file"
    (cache / "checkpoints" / "one" / "checkpoint.json").write_text('{"kind": "causal"}')
    assert not is_sealed(cache, "one"), "half its keys"


def test_a_checkpoint_whose_referred_part_is_gone_is_not_whole(sealed, cache):
    made, folder = following(cache, sealed)
    seal(made, folder, cache, "two")
    assert is_sealed(cache, "one") and is_sealed(cache, "two")
    shutil.rmtree(cache / "checkpoints" / "one")
    assert not is_sealed(cache, "two")


def test_sealing_again_replaces(sealed, cache):
    folder = cache / "partial" / "one.2"
    seal(Checkpoint("causal", {}).with_parts(model=make_part(folder, "model", b"new")), folder, cache, "one")
    again = load(cache, "one")
    assert set(again.parts) == {"model"}
    assert (again.parts["model"] / "model.safetensors").read_bytes() == b"new"


def test_the_file_says_its_format(sealed, cache):
    content = json.loads((cache / "checkpoints" / "one" / "checkpoint.json").read_text())
    assert content["format"] == 1
    assert content["parts"] == {"model": "checkpoints/one/model", "tokenizer": "checkpoints/one/tokenizer"}


def test_a_checkpoint_that_is_not_there_is_one_clear_line(cache):
    with pytest.raises(ModelError) as caught:
        load(cache, "gone")
    assert "checkpoint gone is not in the cache" in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_job_starts_from_is_not_its_own(sealed, cache):
    given = open_input({"input": "one", "cache": str(cache)})
    assert given.parts == sealed.parts and given.made == frozenset()
    blank = open_input({"input": None, "cache": str(cache), "model": {"kind": "architecture", "architecture": "gpt2"}})
    assert blank.kind == "blank"


def test_hashes_know_names_and_bytes(tmp_path):
    first = make_part(tmp_path / "a", "model", b"1")
    same = make_part(tmp_path / "b", "model", b"1")
    other = make_part(tmp_path / "c", "model", b"2")
    renamed = make_part(tmp_path / "d", "peft", b"1")
    hashes = [content_hash(weight_files(path)) for path in (first, same, other, renamed)]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3

"""Kinds of models as transformers has them: whatever its tables open is planned as what it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.models.architectures import ENCODERS, kind_of_configuration

# What a name alone does not tell: models that hear or see, or that say in their configuration what they are.
BY_CONFIGURATION = {
    "got_ocr2", "moss_transcribe_diarize", "encoder-decoder", "marian", "seamless_m4t", "seamless_m4t_v2",
}  # fmt: skip
# In two tables: the one that they were made for counts.
ELSEWHERE = {"masked": {"bart", "mbart", "mvp"}, "causal": {"xlm", "flaubert"}}


def named(table: str) -> Iterator[tuple[str, str]]:
    from transformers.models.auto import modeling_auto

    for model_type, names in getattr(modeling_auto, table).items():
        for name in names if isinstance(names, tuple | list) else [names]:
            yield model_type, name


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "causal"),
        ("MODEL_FOR_MASKED_LM_MAPPING_NAMES", "masked"),
        ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "seq2seq"),
    ],
)
def test_every_model_of_transformers_tables_is_of_its_kind(table: str, kind: str) -> None:
    checked = 0
    for model_type, name in named(table):
        sees = {"text_config": {}} if model_type.startswith("gemma") and kind == "causal" else {}
        if model_type in BY_CONFIGURATION | ELSEWHERE.get(kind, set()):
            continue
        checked += 1
        config = {"architectures": [name], "model_type": model_type, **sees}
        assert kind_of_configuration(config) == kind, (model_type, name)
    assert checked > 30


def test_encoders_are_those_of_transformers() -> None:
    known = {model_type for model_type, _ in named("MODEL_FOR_MASKED_LM_MAPPING_NAMES")}
    assert known - {"bart", "mbart", "mvp", "reformer"} == ENCODERS


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["BertModel"], "model_type": "bert"}, "masked"),
        ({"architectures": ["BertForPreTraining"], "model_type": "bert"}, "masked"),
        ({"model_type": "distilbert"}, "masked"),
        ({"architectures": ["BertLMHeadModel"], "model_type": "bert"}, "causal"),
        ({"architectures": ["BertGenerationDecoder"], "model_type": "bert", "is_decoder": True}, "causal"),
        ({"architectures": ["MarianMTModel"], "is_encoder_decoder": True}, "seq2seq"),
        ({"architectures": ["LlavaForConditionalGeneration"], "text_config": {}}, "causal"),
        ({"architectures": ["BertForSequenceClassification"], "model_type": "bert"}, "classifier"),
        ({"model_type": "llama"}, "causal"),
    ],
)
def test_what_a_configuration_says_otherwise(config: dict, kind: str) -> None:
    assert kind_of_configuration(config) == kind

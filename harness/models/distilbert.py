"""DistilBERT out of a BERT: the same blocks under other names, without token types and pooler (Sanh et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import StepError

# Names of BERT's and of DistilBERT's modules, outside of the layers and within one.
OUTSIDE = {
    "bert.embeddings.word_embeddings": "distilbert.embeddings.word_embeddings",
    "bert.embeddings.position_embeddings": "distilbert.embeddings.position_embeddings",
    "bert.embeddings.LayerNorm": "distilbert.embeddings.LayerNorm",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder": "vocab_projector",
}
WITHIN = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def distilbert_of(teacher: Any, layers: Sequence[int]) -> Any:
    """A ``DistilBertForMaskedLM`` with these layers of a ``BertForMaskedLM``; ``StepError`` for another model.

    The embeddings of token types are left out, as the published script leaves them out.
    """
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    given = teacher.config
    if given.model_type != "bert":
        raise StepError(f"distilbert makes its student of a BERT, this is a {given.model_type}")
    config = DistilBertConfig(
        vocab_size=given.vocab_size, max_position_embeddings=given.max_position_embeddings, n_layers=len(layers),
        n_heads=given.num_attention_heads, dim=given.hidden_size, hidden_dim=given.intermediate_size,
        dropout=given.hidden_dropout_prob, attention_dropout=given.attention_probs_dropout_prob,
        activation=given.hidden_act, initializer_range=given.initializer_range, pad_token_id=given.pad_token_id,
        tie_weights_=given.tie_word_embeddings, tie_word_embeddings=given.tie_word_embeddings,
    )  # fmt: skip
    student = DistilBertForMaskedLM._from_config(config, attn_implementation=given._attn_implementation)
    student = student.to(teacher.device, teacher.dtype)
    names = dict(OUTSIDE)
    for own, number in enumerate(layers):
        start, end = f"bert.encoder.layer.{number}.", f"distilbert.transformer.layer.{own}."
        names |= {f"{start}{one}": f"{end}{other}" for one, other in WITHIN.items()}
    weights = teacher.state_dict()
    taken = {
        f"{other}.{end}": weights[f"{one}.{end}"]
        for one, other in names.items() for end in ("weight", "bias") if f"{one}.{end}" in weights
    }  # fmt: skip
    missing, unexpected = student.load_state_dict(taken, strict=False)
    if missing or unexpected:
        raise StepError(f"the student does not take the teacher's weights: {[*missing, *unexpected][:3]}")
    return student

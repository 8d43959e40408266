"""How likely a model finds continuations of contexts: the fast path of everything that compares options.

What several texts begin with is computed once where the model allows it, logits are made only where a continuation is
predicted, and batches hold texts of similar length, as many as the memory allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.models.loading import autocast
from harness.models.packing import Pack, packed
from harness.models.scoring import BYTES_IN_BATCH, entries, padded

if TYPE_CHECKING:
    import numpy

# What stays in a processor's cache, and what fills a GPU.
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}
# Architectures whose attention is over positions that are told and a mask that is given: a test scores each both ways.
PACKED = frozenset({"gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"})

Pair = tuple[Sequence[int], Sequence[int]]


class Continued(NamedTuple):
    """float32 [tokens]: log-probabilities of a continuation's tokens; whether each is the likeliest one."""

    log_probabilities: numpy.ndarray
    greedy: bool


def continuations(scorer: Any, pairs: Sequence[Pair]) -> list[Continued]:
    """Score ``(context, continuation)`` by whatever opened the model; neither may be empty.

    A scorer that has no way of its own to do so (of another package, say) is asked for full distributions.
    """
    if hasattr(scorer, "continuations"):
        found: list[Continued] = scorer.continuations(pairs)
        return found
    return [_from_distributions(scorer, pair) for pair in pairs]


def _from_distributions(scorer: Any, pair: Pair) -> Continued:
    import numpy

    context, continuation = pair
    scores = scorer.log_probabilities([[*context, *continuation]])[0][len(context) - 1 :]
    targets = numpy.asarray(continuation)
    picked = scores[numpy.arange(len(targets)), targets]
    return Continued(picked, bool((scores.argmax(axis=1) == targets).all()))


def score(model: Any, pairs: Sequence[Pair], precision: str) -> list[Continued]:
    """Score pairs with a live causal transformers model."""
    # The last token predicts nothing that is asked for.
    texts = [[*context, *continuation[:-1]] for context, continuation in pairs]
    together = can_pack(model)
    packs = packed(texts) if together else [Pack([place], len(text), [len(text)]) for place, text in enumerate(texts)]
    found: list[Any] = [None] * len(pairs)
    tokens = BATCH_TOKENS[next(model.parameters()).device.type]
    waiting = list(_batches(packs, min(tokens, BYTES_IN_BATCH // (4 * entries(model)))))
    while waiting:
        batch = waiting.pop(0)
        try:
            scored = _score_batch(model, batch, texts, pairs, precision, together)
        except Exception as error:
            if not _out_of_memory(error) or len(batch) == 1:
                raise
            _give_back()
            waiting[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            continue
        for place, one in scored:
            found[place] = one
    return found


def can_pack(model: Any) -> bool:
    """Whether a model reads several texts with one beginning in one row: by its architecture and its attention.

    A window of attention counts tokens between two, which the row has more of; virtual tokens stand before every row.
    """
    config = model.config
    attention = getattr(config, "_attn_implementation", None)
    virtual = any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values())
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return config.model_type in PACKED and attention in ("sdpa", "eager") and not virtual and window is None


def _batches(packs: Sequence[Pack], limit: int) -> Iterator[list[Pack]]:
    """Packs of similar length, single texts apart from real packs; bounded in tokens and in bytes of masks."""
    order = sorted(packs, key=lambda pack: (len(pack.members) == 1, -pack.tokens, pack.members))
    batch: list[Pack] = []
    for pack in order:
        if batch:
            longest, alone = batch[0].tokens, len(batch[0].members) == 1
            size = len(batch) + 1
            full = size * longest > limit or (not alone and 4 * size * longest * longest > BYTES_IN_BATCH)
            if full or alone != (len(pack.members) == 1):
                yield batch
                batch = []
        batch.append(pack)
    if batch:
        yield batch


def _score_batch(
    model: Any, batch: Sequence[Pack], texts: Sequence[Sequence[int]], pairs: Sequence[Pair], precision: str,
    together: bool,
) -> list[tuple[int, Continued]]:  # fmt: skip
    import torch

    device = next(model.parameters()).device
    rows, columns, targets, places, lengths = _asked(batch, pairs)
    inputs = _packed_inputs(model, batch, texts, device) if together else _plain_inputs(batch, texts, device)
    # Columns from which something is predicted; the model's head sees no others.
    used, column_of = torch.unique(torch.tensor(columns, device=device), return_inverse=True)
    with torch.no_grad(), autocast(precision, device.type):
        logits = model(**inputs, use_cache=False, **_kept_columns(model, used)).logits
    if logits.shape[1] != len(used):
        logits = logits[:, logits.shape[1] - inputs["input_ids"].shape[1] :][:, used]
    # Several texts ask the same position: its distribution is made once.
    flat = torch.tensor(rows, device=device) * len(used) + column_of
    positions, position_of = torch.unique(flat, return_inverse=True)
    scores = torch.log_softmax(logits.reshape(-1, logits.shape[-1])[positions].float(), dim=-1)
    wanted = torch.tensor(targets, device=device)
    picked = scores[position_of, wanted].cpu()
    best = (scores.argmax(dim=-1)[position_of] == wanted).cpu()
    parts = zip(places, picked.split(lengths), best.split(lengths), strict=True)
    return [(place, Continued(part.numpy().copy(), bool(right.all()))) for place, part, right in parts]


def _asked(
    batch: Sequence[Pack], pairs: Sequence[Pair]
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """For every scored token its row, the column that predicts it and its id; places and lengths of the texts."""
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    places: list[int] = []
    lengths: list[int] = []
    for row, pack in enumerate(batch):
        moved = 0  # by how far a text's own end stands behind where it would stand alone
        for place, length in zip(pack.members, pack.lengths, strict=True):
            context, continuation = pairs[place]
            first = len(context) - 1
            shared = max(first, min(pack.shared, length))
            columns += range(first, shared)
            columns += range(shared + moved, length + moved)
            rows += [row] * len(continuation)
            targets += continuation
            places.append(place)
            lengths.append(len(continuation))
            moved += length - pack.shared
    return rows, columns, targets, places, lengths


def _plain_inputs(batch: Sequence[Pack], texts: Sequence[Sequence[int]], device: Any) -> dict[str, Any]:
    ids, mask = padded([texts[pack.members[0]] for pack in batch])
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def _packed_inputs(model: Any, batch: Sequence[Pack], texts: Sequence[Sequence[int]], device: Any) -> dict[str, Any]:
    """Ids, positions and the mask of rows that hold a beginning and the ends after it, one after another."""
    import torch

    whole = [_row(pack, texts) for pack in batch]
    ids = padded([ids for ids, _, _ in whole])[0].to(device)
    if all(len(pack.members) == 1 for pack in batch):
        # What stands to the right of a text is not seen by it: no mask is needed, and the kernel without one is faster.
        return {"input_ids": ids}
    positions = padded([positions for _, positions, _ in whole])[0].to(device)
    # Padding is an end of its own, so that it sees something and nothing sees it.
    ends, real = padded([ends for _, _, ends in whole])
    ends = torch.where(real.bool(), ends, -1).to(device)
    seen = (ends[:, None, :] == 0) | (ends[:, None, :] == ends[:, :, None])
    mask = torch.tril(seen)[:, None]
    if model.config._attn_implementation == "eager":
        dtype = model.get_input_embeddings().weight.dtype
        dtype = dtype if dtype.is_floating_point else torch.float32
        mask = torch.zeros(mask.shape, dtype=dtype, device=device).masked_fill_(~mask, torch.finfo(dtype).min)
    return {"input_ids": ids, "position_ids": positions, "attention_mask": mask}


def _row(pack: Pack, texts: Sequence[Sequence[int]]) -> tuple[list[int], list[int], list[int]]:
    """Ids of a row, each one's position in its own text, and the number of the end that it belongs to (0: all)."""
    first = texts[pack.members[0]]
    ids, positions, ends = list(first[: pack.shared]), list(range(pack.shared)), [0] * pack.shared
    for number, (place, length) in enumerate(zip(pack.members, pack.lengths, strict=True), start=1):
        ids += texts[place][pack.shared :]
        positions += range(pack.shared, length)
        ends += [number] * (length - pack.shared)
    return ids, positions, ends


def _kept_columns(model: Any, used: Any) -> dict[str, Any]:
    """The argument by which a model makes logits of some columns alone, where it is known to have one."""
    return {"logits_to_keep": used} if can_pack(model) else {}


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError)


def _give_back() -> None:
    import torch

    torch.cuda.empty_cache()

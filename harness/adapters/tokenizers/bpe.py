"""``bpe``: byte-level byte-pair encoding, learnt with the tokenizers library."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Codec, Job, param
from harness.vocabularies.learning import END, PAD, VocabularyParams, must_reach, training_corpus


class BytePairEncoding(Adapter):
    """Merges the most frequent pair of symbols until the vocabulary is full; starts from the 256 bytes."""

    summary = "byte-level byte-pair encoding"
    source = "Sennrich et al. 2016, arXiv:1508.07909; byte-level as in Radford et al. 2019 (GPT-2)"
    requires = ("tokenizers", "transformers")
    takes = frozenset()
    gives = frozenset({"tokenizer"})
    kinds = frozenset({"blank", "tokenizer", "none"})
    view = "text"

    @dataclass(frozen=True)
    class Params(VocabularyParams):
        vocab_size: int = param(2048, "entries of the vocabulary, the 256 bytes and 2 special tokens included", low=258)
        min_frequency: int = param(2, "a pair must occur this often to be merged", low=1)

    def train(self, job: Job) -> Checkpoint:
        """Learn the merges from the training text."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast

        with job.meter.span("data"):
            texts = training_corpus(job)
        with job.meter.span("train"):
            tokenizer = Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            trainer = trainers.BpeTrainer(
                vocab_size=self.params.vocab_size, min_frequency=self.params.min_frequency,
                special_tokens=[END, PAD], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
            )  # fmt: skip
            tokenizer.train_from_iterator(texts, trainer)
        hint = "give more text, or lower vocab_size or min_frequency"
        must_reach(self.params.vocab_size, tokenizer.get_vocab_size(), hint)
        with job.meter.span("save"):
            fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=PAD)
            fast.save_pretrained(job.part("tokenizer"))
        job.meter.metric("vocabulary_size", tokenizer.get_vocab_size())
        return job.checkpoint.with_parts(tokenizer=job.part("tokenizer"))

    def eval(self, job: Job) -> Codec:
        """Open the vocabulary in the tokenizers library."""
        from harness.vocabularies.huggingface import TokenizersCodec

        return TokenizersCodec(job.checkpoint.parts["tokenizer"])

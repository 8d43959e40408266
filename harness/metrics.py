"""Every metric, declared once: name, unit, direction, label, and how it is measured.

Rows carry the name; reports, comparisons and gates look the rest up here. An unknown name is an error, so a metric
cannot be written by one file and misread by another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError, did_you_mean

Direction = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Metric:
    """One measured quantity. ``direction`` says which way is better; ``none`` is a fact without a better side."""

    name: str
    unit: str
    direction: Direction
    label: str
    how: str

    @property
    def signed(self) -> bool:
        """Whether it can be below zero."""
        return self.name in _SIGNED

    @property
    def most(self) -> float | None:
        """What it cannot exceed: a share of a whole, 1."""
        return 1.0 if self.unit == "share" and self.name not in _OF_ANOTHER else None


_SIGNED = frozenset({
    "lm_eval_mcc", "preference_margin", "judge_reward", "training_reward", "kl_from_reference", "meter_overhead_share",
})  # fmt: skip
_OF_ANOTHER = frozenset({"meter_overhead_share", "supervisor_cpu_share", "contention_share"})  # not of one whole
_DECLARED = (
    # quality
    Metric("loss", "nats/token", "lower", "Loss per token", "Mean negative log-likelihood of the scored tokens."),
    Metric(
        "perplexity", "1", "lower", "Perplexity",
        "exp of the mean negative log-likelihood per scored token; each window is scored from its second token on.",
    ),
    Metric(
        "bits_per_byte", "bit/byte", "lower", "Bits per byte",
        "Negative log2-likelihood of the scored tokens over the UTF-8 bytes that those tokens stand for.",
    ),
    Metric(
        "kl_divergence", "nats/token", "lower", "KL divergence",
        "Mean over positions of KL(reference || this), from full next-token distributions of both.",
    ),
    Metric("kl_divergence_median", "nats/token", "lower", "KL median", "Median over positions of the same KL."),
    Metric("kl_divergence_p99", "nats/token", "lower", "KL p99", "99th percentile over positions of the same KL."),
    Metric("kl_divergence_max", "nats/token", "lower", "KL max", "Largest value over positions of the same KL."),
    Metric(
        "top1_agreement", "share", "higher", "Top-1 agreement",
        "Share of positions at which this model and the reference rank the same token first.",
    ),
    Metric(
        "choice_accuracy", "share", "higher", "Choice accuracy",
        "Share of items whose right option has the largest log p(option | prompt) - log p(option).",
    ),
    Metric(
        "choice_accuracy_sum", "share", "higher", "Choice accuracy (plain sums)",
        "The same with log p(option | prompt) alone.",
    ),
    Metric(
        "masked_loss", "nats/token", "lower", "Masked loss",
        "Mean negative log-likelihood of the tokens chosen by the masking rule, on fixed masks of held-out windows.",
    ),
    Metric(
        "masked_accuracy", "share", "higher", "Masked-token accuracy",
        "Share of those tokens that the model ranks first.",
    ),
    Metric(
        "pseudo_perplexity", "1", "lower", "Pseudo-perplexity",
        "exp of the mean negative log-likelihood of each token with that token alone masked (Salazar et al. 2020).",
    ),
    Metric(
        "pseudo_bits_per_byte", "bit/byte", "lower", "Pseudo bits per byte",
        "The same negative log2-likelihoods over the UTF-8 bytes of the tokens; not that of a distribution over texts.",
    ),
    Metric(
        "classification_accuracy", "share", "higher", "Accuracy",
        "Share of held-out texts whose most likely class, by the trained head, is the right one.",
    ),
    Metric(
        "macro_f1", "share", "higher", "Macro F1",
        "Mean over classes of 2 hits / (occurrences + answers).",
    ),
    Metric("majority_share", "share", "none", "Commonest class", "What answering the commonest class always gets."),
    Metric(
        "denoising_loss", "nats/token", "lower", "Denoising loss",
        "Mean negative log-likelihood of the target's tokens given the corrupted source; not across objectives.",
    ),
    Metric(
        "denoising_bits_per_byte", "bit/byte", "lower", "Bits per hidden byte",
        "Negative log2-likelihood of the tokens that the source does not show over the UTF-8 bytes they stand for.",
    ),
    Metric(
        "chrf", "points", "higher", "chrF",
        "sacrebleu's chrF2 over the whole set, 0 to 100: F-score of character 1- to 6-grams, recall twice as heavy.",
    ),
    Metric(
        "bleu", "points", "higher", "BLEU",
        "sacrebleu's corpus BLEU, 0 to 100: geometric mean of 1- to 4-gram precisions times the brevity penalty.",
    ),
    Metric(
        "rouge_l", "share", "higher", "ROUGE-L",
        "Mean over items of the F-measure of the longest common subsequence of words.",
    ),
    # downstream tasks, by lm-eval's definitions
    Metric(
        "lm_eval_acc", "share", "higher", "lm-eval acc",
        "lm-eval: share of items whose right option has the largest log p(option | context), or whose text is the "
        "likeliest one.",
    ),
    Metric(
        "lm_eval_acc_norm", "share", "higher", "lm-eval acc_norm",
        "lm-eval: the same with each option's log-probability over its characters.",
    ),
    Metric(
        "lm_eval_acc_bytes", "share", "higher", "lm-eval acc_bytes",
        "lm-eval: the same with each option's log-probability over its UTF-8 bytes.",
    ),
    Metric(
        "lm_eval_acc_mutual_info", "share", "higher", "lm-eval acc_mutual_info",
        "lm-eval: the same with log p(option | context) - log p(option).",
    ),
    Metric(
        "lm_eval_exact_match", "share", "higher", "lm-eval exact_match",
        "lm-eval: share of items whose generated answer, filtered, is the reference; of options, whose text is the "
        "likeliest one.",
    ),
    Metric("lm_eval_f1", "share", "higher", "lm-eval f1", "lm-eval: F1 of the chosen options over all items."),
    Metric("lm_eval_mcc", "1", "higher", "lm-eval mcc", "lm-eval: Matthews correlation of chosen and right options."),
    Metric(
        "lm_eval_brier_score", "1", "lower", "lm-eval brier_score",
        "lm-eval: mean squared distance between the options' probabilities and the right one.",
    ),
    Metric(
        "lm_eval_perplexity", "1", "lower", "lm-eval perplexity",
        "lm-eval: exp of the mean over items of -log p(text | context), however many tokens the text has.",
    ),
    Metric(
        "lm_eval_word_perplexity", "1", "lower", "lm-eval word_perplexity",
        "lm-eval: exp of the negative log-likelihood of whole texts over their words.",
    ),
    Metric(
        "lm_eval_byte_perplexity", "1", "lower", "lm-eval byte_perplexity",
        "lm-eval: exp of the negative log-likelihood of whole texts over their UTF-8 bytes.",
    ),
    Metric(
        "lm_eval_bits_per_byte", "bit/byte", "lower", "lm-eval bits_per_byte",
        "lm-eval: negative log2-likelihood of whole texts over their UTF-8 bytes; rules= says what is scored.",
    ),
    Metric("lm_eval_bleu", "points", "higher", "lm-eval bleu", "lm-eval: sacrebleu's corpus BLEU, 0 to 100."),
    Metric("lm_eval_chrf", "points", "higher", "lm-eval chrf", "lm-eval: sacrebleu's corpus chrF2, 0 to 100."),
    Metric("lm_eval_ter", "points", "lower", "lm-eval ter", "lm-eval: sacrebleu's corpus TER."),
    # preferences
    Metric(
        "preference_accuracy", "share", "higher", "Preference accuracy",
        "Share of held-out pairs in which the preferred answer has more reward: of the reward model where the method "
        "has one, else implied by the policy over its reference, else by the model's own log-probability.",
    ),
    Metric(
        "implied_preference_accuracy", "share", "higher", "Implied preference accuracy",
        "The same by log p(answer | prompt) of the policy less that of its reference, summed over the answer's tokens.",
    ),
    Metric(
        "preference_margin", "1", "higher", "Preference margin",
        "Mean reward of preferred answers less that of the others, in the unit of what gave the reward.",
    ),
    Metric(
        "preference_calibration_error", "share", "lower", "Calibration error",
        "Expected calibration error of a reward model's sigmoid(|margin|) as its probability of being right, 10 bins.",
    ),
    Metric(
        "judge_reward", "1", "higher", "Judge's reward",
        "Mean score that the judge, a reward model trained on other pairs, gives to sampled answers.",
    ),
    Metric(
        "judge_accuracy", "share", "higher", "Judge's accuracy",
        "Share of held-out pairs that the judge orders right: how far it can be believed.",
    ),
    Metric(
        "training_reward", "1", "none", "Training reward",
        "Mean score of sampled answers by the reward model that the policy was trained against.",
    ),
    Metric(
        "kl_from_reference", "nats/sequence", "none", "KL from the reference",
        "Sum over an answer's tokens of KL(policy || reference) at the temperature of sampling, mean over answers; "
        "during training TRL's estimate.",
    ),
    Metric("answer_tokens", "token", "none", "Answer's length", "Mean tokens of sampled answers, their end included."),
    Metric("ended_share", "share", "none", "Answers that end", "Share of sampled answers that end by themselves."),
    Metric(
        "distinct_1", "share", "higher", "Distinct tokens",
        "Distinct tokens over all tokens of the sampled answers (Li et al. 2016, arXiv:1510.03055).",
    ),
    Metric("distinct_2", "share", "higher", "Distinct pairs of tokens", "The same of pairs of neighbouring tokens."),
    Metric(
        "preference_pairs_seen", "1", "none", "Pairs seen", "Preference pairs of all optimiser steps, repeats counted."
    ),
    Metric("episodes", "1", "none", "Episodes", "Answers that were generated and scored to learn from."),
    Metric(
        "generated_training_tokens", "token", "none", "Tokens generated",
        "Tokens of the answers that a policy generated to learn from, up to their ends.",
    ),
    Metric(
        "trained_answer_tokens", "token", "none", "Answer tokens trained on",
        "Tokens of such answers over all optimiser steps, which read each answer several times.",
    ),
    Metric(
        "clip_share", "share", "none", "Clipped share",
        "Share of an update's tokens whose ratio of probabilities was clipped, mean over its steps.",
    ),
    Metric(
        "policy_entropy", "nats/sequence", "none", "Entropy of the policy",
        "TRL's estimate: minus the log-probability of the generated answers, mean over an update.",
    ),
    Metric(
        "validation_preference_accuracy", "share", "higher", "Validation preference accuracy",
        "Preference accuracy on fixed validation pairs at a point of the training curve.",
    ),
    # speed
    Metric("wall_seconds", "s", "lower", "Wall time", "From the worker's first instruction to its last span's end."),
    Metric("span_seconds", "s", "lower", "Span", "Self time of one named span; the spans sum to the wall time."),
    Metric(
        "step_seconds", "s", "lower", "Optimiser step",
        "Time of one optimiser step without evaluation, logging or saving; median after the warm-up.",
    ),
    Metric(
        "tokens_per_second", "token/s", "higher", "Training tokens/s",
        "All tokens of the counted optimiser steps over the seconds of those steps.",
    ),
    Metric(
        "nonpadding_tokens_per_second", "token/s", "higher", "Non-padding tokens/s",
        "The same, tokens that are not padding.",
    ),
    Metric(
        "loss_tokens_per_second", "token/s", "higher", "Loss-bearing tokens/s",
        "The same, tokens that carry a loss.",
    ),
    Metric(
        "time_to_first_token_seconds", "s", "lower", "Time to first token",
        "From the call of generate to the first new token, at the stated batch and prompt length; median.",
    ),
    Metric(
        "inter_token_latency_seconds", "s", "lower", "Inter-token latency",
        "Time between consecutive new tokens, timed at each token; median.",
    ),
    Metric(
        "prefill_tokens_per_second", "token/s", "higher", "Prefill tokens/s",
        "Prompt tokens of the batch over the time to the first token; median over repeats.",
    ),
    Metric(
        "decode_tokens_per_second", "token/s", "higher", "Decode tokens/s",
        "New tokens after the first, over the time between the first and the last; median over repeats.",
    ),
    # size and memory
    Metric(
        "peak_memory_bytes", "B", "lower", "Peak memory",
        "The kernel's high-water mark of resident memory (VmHWM) within the span, children added by PSS.",
    ),
    Metric(
        "peak_memory_rise_bytes", "B", "lower", "Peak memory rise",
        "Peak memory of the work's spans less that of the interpreter and its libraries before the work.",
    ),
    Metric(
        "runtime_memory_bytes", "B", "lower", "Runtime memory",
        "Resident memory of the interpreter with its libraries loaded, before any work.",
    ),
    Metric(
        "training_memory_bytes", "B", "lower", "Memory of training",
        "Peak while optimiser steps ran, less what lay in memory before them but for the tensors of models; on a GPU "
        "the allocator's peak.",
    ),
    Metric(
        "tensor_memory_bytes", "B", "lower", "Memory of tensors",
        "The same in a process whose heap gives freed memory back at once: what is in use at the peak.",
    ),
    Metric(
        "predicted_memory_bytes", "B", "none", "Predicted memory",
        "What the memory model says of the same before the first step, by the model's configuration.",
    ),
    Metric(
        "loaded_memory_bytes", "B", "lower", "Resident when loaded",
        "After the model was opened and before it was used: resident memory less the runtime memory; where a GPU is in "
        "use what tensors take on it (torch.cuda.memory_allocated).",
    ),
    Metric(
        "key_value_bytes", "B", "lower", "Key-value cache",
        "Bytes of the keys and values that lie in memory after a generation, for all prompts of the batch.",
    ),
    Metric(
        "key_value_bytes_per_token", "B/token", "lower", "Key-value cache per token",
        "The same over the tokens read: of each prompt all of its own and the new ones but the last.",
    ),
    Metric(
        "expected_key_value_bytes", "B", "none", "Key-value cache by arithmetic",
        "2 x layers x key-value heads x head size x tokens read x bytes of a value (4 at fp32, 2 at other precisions).",
    ),
    Metric(
        "logit_difference", "1", "lower", "Largest difference of a logit",
        "Largest absolute difference between logits of the model with unmerged adapters and of the merged one as it "
        "was saved, over fixed token ids.",
    ),
    Metric(
        "cuda_peak_allocated_bytes", "B", "lower", "GPU peak allocated",
        "torch.cuda.max_memory_allocated, reset per span, without the validation and comparison inside a training.",
    ),
    Metric(
        "cuda_peak_reserved_bytes", "B", "lower", "GPU peak reserved",
        "torch.cuda.max_memory_reserved, the same way.",
    ),
    Metric(
        "cuda_peak_active_bytes", "B", "lower", "GPU peak active",
        "active_bytes.all.peak of torch.cuda.memory_stats, the same way.",
    ),
    Metric(
        "cuda_alloc_retries", "1", "lower", "GPU allocator retries",
        "num_alloc_retries of torch.cuda.memory_stats.",
    ),
    Metric(
        "cuda_step_seconds", "s", "lower", "GPU step time",
        "Median over the counted optimiser steps of the time between two CUDA events around each.",
    ),
    Metric(
        "gpu_energy_joules", "J", "lower", "GPU energy",
        "Difference of NVML's energy counter over the training or the generation, all GPUs, evaluations within it too.",
    ),
    Metric("gpu_power_watts", "W", "none", "GPU power", "That energy over the seconds that it was taken in."),
    Metric("checkpoint_bytes", "B", "lower", "Size on disk", "Bytes of the checkpoint's files that a user would ship."),
    Metric(
        "further_task_bytes", "B", "lower", "Bytes per further task",
        "Bytes of the parts that a training made: what another task over the same base would add.",
    ),
    Metric("weight_bytes", "B", "lower", "Weights on disk", "Bytes of the weight files alone (model and adapters)."),
    Metric(
        "bits_per_weight", "bit", "lower", "Bits per weight",
        "Bits of the weight files (of GGUF its tensors alone: it holds the tokenizer too) over the parameters.",
    ),
    Metric("parameters", "1", "none", "Parameters", "Number of parameters, tied ones once."),
    Metric(
        "rank_parameter_bytes", "B", "lower", "Parameters per process",
        "Bytes of parameters that one of several training processes holds between steps; the largest process's.",
    ),
    Metric(
        "rank_gradient_bytes", "B", "lower", "Gradients per process",
        "The most bytes of gradients that lie in one of several training processes at one moment.",
    ),
    Metric(
        "rank_optimizer_bytes", "B", "lower", "Optimiser state per process",
        "Bytes of optimiser state, its own copies of weights included, that one of several training processes holds.",
    ),
    Metric(
        "communication_seconds", "s", "lower", "Communication per step",
        "Seconds of collectives per optimiser step in two profiled warm-up steps, of the process that takes longest: "
        "of gloo as the backend reports them, of NCCL its kernels' time on the GPU.",
    ),
    # frontier
    Metric(
        "largest_batch", "1", "higher", "Largest batch",
        "Sequences per optimiser step of the largest batch that trained within the memory cap; 0 where none did.",
    ),
    Metric(
        "longest_sequence", "token", "higher", "Longest sequence",
        "Tokens of the longest sequence that trained within the memory cap, at the stated batch.",
    ),
    Metric(
        "frontier_tokens", "token", "higher", "Tokens at the frontier", "Batch times sequence length at the frontier."
    ),
    Metric(
        "frontier_peak_bytes", "B", "none", "Peak at the frontier",
        "Peak memory above the beginning of the largest training that fitted.",
    ),
    # training facts
    Metric(
        "model_flops_per_token", "FLOP/token", "none", "Model FLOPs per token",
        "3 x (2 x weights of matrix products + 4 x layers x width x positions) over the tokens of all steps: PaLM's "
        "count (arXiv:2204.02311, appendix B), an encoder-decoder's weights each with the tokens that they meet.",
    ),
    Metric(
        "calibration_tokens", "token", "none", "Calibration tokens",
        "Tokens of the text that a compression was calibrated on.",
    ),
    Metric("trainable_parameters", "1", "none", "Trainable parameters", "Parameters that require a gradient."),
    Metric("trainable_share", "share", "none", "Trainable share", "Trainable parameters over all parameters."),
    Metric("teacher_parameters", "1", "none", "Teacher's parameters", "Parameters of the model that was learnt from."),
    Metric(
        "teacher_seconds", "s", "lower", "Teacher's forward passes",
        "Seconds that a distillation's forward passes through the teacher took, a part of its optimiser steps.",
    ),
    Metric(
        "teacher_cache_bytes", "B", "lower", "Kept answers of the teacher",
        "Size on disk of the teacher's logits that a distillation kept for a later pass over its data.",
    ),
    Metric("optimizer_steps", "1", "none", "Optimiser steps", "Optimiser steps that were really taken."),
    Metric(
        "overflow_steps", "1", "lower", "Overflowing steps",
        "Optimiser steps that loss scaling left out because a gradient overflowed in fp16.",
    ),
    Metric("train_tokens", "token", "none", "Tokens trained on", "All tokens of all optimiser steps."),
    Metric(
        "train_bytes", "byte", "none", "Text trained on",
        "Tokens trained on times the UTF-8 bytes per token of the packed training text.",
    ),
    Metric(
        "train_seconds", "s", "none", "Training time",
        "Seconds of the optimiser steps so far (without evaluation, logging or saving), at a point of the curve.",
    ),
    Metric(
        "train_loss_first", "nats/token", "none", "First losses",
        "Mean training loss of the first tenth of the steps.",
    ),
    Metric(
        "train_loss_last", "nats/token", "lower", "Last losses",
        "Mean training loss of the last tenth of the steps.",
    ),
    Metric("train_loss", "nats/token", "lower", "Training loss", "Training loss at one optimiser step."),
    Metric(
        "validation_bits_per_byte", "bit/byte", "lower", "Validation bits per byte",
        "Bits per byte on fixed validation windows, at a point of the training curve.",
    ),
    Metric(
        "validation_loss", "nats/token", "lower", "Validation loss",
        "Loss on fixed validation examples during training, by the objective of the stage.",
    ),
    Metric(
        "validation_masked_accuracy", "share", "higher", "Validation masked-token accuracy",
        "Share of the masked tokens of fixed validation windows that rank first, at a point of the training curve.",
    ),
    # tokenizers
    Metric("vocabulary_size", "1", "none", "Vocabulary", "Number of entries of the tokenizer."),
    Metric("corpus_bytes", "byte", "none", "Learnt from", "UTF-8 bytes of the text that a vocabulary was learnt from."),
    Metric("bytes_per_token", "byte", "higher", "Bytes per token", "UTF-8 bytes of held-out text over its tokens."),
    Metric(
        "fertility", "token/word", "lower", "Fertility",
        "Tokens of held-out text over its words; a word is what stands between white space.",
    ),
    Metric("unknown_share", "share", "lower", "Unknown tokens", "Tokens of held-out text that are the unknown token."),
    Metric(
        "byte_token_share", "share", "lower", "Byte tokens",
        "Tokens of held-out text that stand for bytes and not for characters: byte fallback, or pieces that are not "
        "UTF-8 by themselves.",
    ),
    Metric(
        "vocabulary_use", "share", "higher", "Vocabulary used",
        "Entries of the vocabulary that occur in held-out text, over all entries.",
    ),
    Metric(
        "round_trip_share", "share", "higher", "Exact round trips",
        "Paragraphs of held-out text that come back from encode and decode to the letter.",
    ),
    Metric(
        "hostile_round_trip_share", "share", "higher", "Hostile texts back",
        "Hostile texts (emoji, marks, controls, long words ...) that come back from encode and decode to the letter.",
    ),
    Metric(
        "encode_megabytes_per_second", "MB/s", "higher", "Encode",
        "10^6 UTF-8 bytes of text over the seconds of encoding them; median over rounds of different text.",
    ),
    Metric(
        "decode_megabytes_per_second", "MB/s", "higher", "Decode",
        "10^6 UTF-8 bytes of text over the seconds of decoding its ids; median over rounds of different text.",
    ),
    Metric(
        "token_parity", "1", "none", "Token premium",
        "Tokens of the target language over tokens of the source language for the same sentences.",
    ),
    Metric("source_fertility", "token/word", "lower", "Fertility, source", "Tokens over words, source language."),
    Metric("target_fertility", "token/word", "lower", "Fertility, target", "Tokens over words, target language."),
    # machine
    Metric("canary_matmul_seconds", "s", "lower", "Canary: matmul", "Median time of a fixed matrix product."),
    Metric(
        "canary_bf16_matmul_seconds", "s", "lower", "Canary: bf16 matmul",
        "Median time of a fixed matrix product in bfloat16.",
    ),
    Metric("canary_copy_seconds", "s", "lower", "Canary: copy", "Median time of a fixed memory copy."),
    Metric(
        "canary_gpu_matmul_seconds", "s", "lower", "Canary: GPU matmul",
        "Median time, by CUDA events, of a fixed product of random float32 matrices without TF32.",
    ),
    Metric(
        "canary_gpu_bf16_matmul_seconds", "s", "lower", "Canary: GPU bf16 matmul",
        "Median time, by CUDA events, of the same product in bfloat16.",
    ),
    Metric(
        "canary_gpu_copy_seconds", "s", "lower", "Canary: GPU copy",
        "Median time, by CUDA events, of a fixed copy within the GPU's memory.",
    ),
    Metric(
        "contention_share", "share", "lower", "Other processes' CPU share",
        "CPU seconds of all other processes over wall seconds times cores, while the step ran.",
    ),
    Metric(
        "supervisor_cpu_share", "share", "lower", "Launcher's CPU share",
        "CPU seconds of the launcher and its server over the step's wall time.",
    ),
    Metric(
        "meter_overhead_share", "share", "lower", "Overhead of the meter",
        "Time of a metered training step over that of the same step in a plain PyTorch loop, less 1; median of pairs.",
    ),
    Metric(
        "harness_seconds", "s", "lower", "Time of the harness itself",
        "Wall time of a command of the harness, or of a step that does nothing; median over repeats.",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _DECLARED}


def metric(name: str) -> Metric:
    """Return the declaration of ``name``; raise ``UsageError`` with the nearest known name if there is none."""
    try:
        return METRICS[name]
    except KeyError:
        raise UsageError(f"unknown metric '{name}'{did_you_mean(name, METRICS)}") from None

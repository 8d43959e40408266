"""The form of a suite file as a pydantic model: which keys there are and what they hold.

``harness.plan.suite`` reads files through it; its JSON Schema (``suites/suite.schema.json``) gives editors completion.
What names mean is checked later, where the line is still known.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Precision = Literal["fp32", "bf16-mixed", "bf16", "fp16-mixed", "fp16"]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Scalar = int | float | str | bool | None


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=False)


class BudgetForm(_Form):
    """How much each training stage may use."""

    tokens: Count | None = Field(None, description="tokens of each training stage")
    steps: Count | None = Field(None, description="optimiser steps of each training stage")
    bytes: Count | None = Field(None, description="UTF-8 bytes of running text of each training stage")
    batch_size: Count = Field(8, description="sequences per optimiser step")
    micro_batch_size: Count | None = Field(None, description="sequences per forward pass; the batch size if not given")
    sequence_length: Annotated[int, Field(ge=2)] = Field(256, description="tokens per sequence")
    evaluations: Annotated[int, Field(ge=0)] = Field(4, description="points of the training curve")
    scope: Literal["stage", "method"] = Field("stage", description="method divides it over the stages that train")

    @model_validator(mode="after")
    def _one_amount(self) -> BudgetForm:
        given = [name for name in ("tokens", "steps", "bytes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give tokens, steps or bytes, not {' and '.join(given)}")
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}"
            )
        return self


class HardwareForm(_Form):
    """Where a step runs."""

    device: Literal["cpu", "cuda"] = "cpu"
    devices: Count = 1
    threads: Annotated[int, Field(ge=0, description="0 is every core")] = 0
    ranks: Count = 1


class LimitsForm(_Form):
    """When a step is stopped."""

    wall_seconds: Annotated[float, Field(gt=0, strict=False)] = 600
    silence_seconds: Annotated[float, Field(gt=0, strict=False)] = 300


class ModelForm(_Form):
    """A named model: a folder, one of the hub, random weights, or an architecture that a recipe (``from``) trains."""

    path: str | None = Field(None, description="folder, relative to the suite file")
    hub: str | None = Field(None, description="id on the hub")
    revision: str | None = None
    random: str | None = Field(None, description="random weights: llama(layers=4), llama-3-8b, ./config.json")
    architecture: str | None = Field(None, description="llama or gpt2")
    from_: str | None = Field(None, alias="from", description="method that makes the model")
    hidden_size: Count | None = None
    intermediate_size: Count | None = None
    layers: Count | None = None
    heads: Count | None = None
    kv_heads: Count | None = None
    vocab_size: Count | None = None
    context: Count | None = None
    tie_embeddings: bool | None = None
    seed: Seed = Field(0, description="the recipe's own seed")
    precision: Precision = Field("fp32", description="the recipe's own precision")
    data: str = Field("source", description="the recipe's data")
    hardware: str | HardwareForm | None = Field(None, description="the recipe's hardware; the cell's if not given")
    budget: BudgetForm | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> ModelForm:
        known = ("path", "hub", "random", "architecture")
        origins = [name for name in known if getattr(self, name) is not None]
        if len(origins) != 1:
            one_of = f"{', '.join(known[:-1])} or {known[-1]}"
            raise ValueError(f"give exactly one of {one_of}, not {' and '.join(origins) or 'none'}")
        if self.from_ is not None and self.architecture is None:
            raise ValueError("from: needs an architecture to train")
        return self


class DataForm(_Form):
    """A named data set: a local file or one of the hub, and which of its columns make which view."""

    path: str | None = Field(None, description="text, JSON-lines, CSV or Parquet file, relative to the suite file")
    hub: str | None = Field(None, description="id on the hub")
    revision: str | None = None
    subset: str | None = Field(None, description="the hub's configuration of the data set")
    format: str | None = Field(None, description="text, jsonl, json, csv, tsv or parquet; by the ending if not given")
    columns: dict[str, str | list[str]] | None = Field(None, description="field of a view: column of the data")
    view: str | None = Field(None, description="the only view that the data offers; by its columns if not given")
    chat: bool | None = Field(None, description="prompts are messages: read by the model's chat template")
    split: dict[str, str] | None = Field(None, description="split: file, or split: the hub's name of it")

    @model_validator(mode="after")
    def _one_origin(self) -> DataForm:
        local = self.path is not None or self.split is not None
        if (self.path is not None and self.hub is not None) or not (local or self.hub is not None):
            raise ValueError("give either path or hub")
        return self


# One value or a list of them; always a list once it is read.
_Some = Field(min_length=1)
Texts = Annotated[list[str], _Some, BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
_Words = Precision | list[Precision]
Precisions = Annotated[list[Precision], _Some, BeforeValidator(_as_list, json_schema_input_type=_Words)]
Seeds = Annotated[list[Seed], _Some, BeforeValidator(_as_list, json_schema_input_type=Seed | list[Seed])]
_Device = str | HardwareForm
Devices = Annotated[list[_Device], _Some, BeforeValidator(_as_list, json_schema_input_type=_Device | list[_Device])]
Tasks = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]


class TuneForm(_Form):
    """How parameters are chosen: by validation loss, with as many trials for each technique."""

    params: dict[str, dict[str, Annotated[list[Scalar], Field(min_length=2)]]] = Field(
        description="technique: {parameter: values to try}; a method that gives the parameter itself is left alone"
    )
    seed: Seed = Field(1000, description="seed of the trials; no cell may have it")
    precision: Precision | None = Field(None, description="precision of the trials; the cell's own if not given")


class RuleForm(_Form):
    """Leaves out the cells for which every key matches."""

    method: Texts | None = Field(None, description="methods")
    uses: Texts | None = Field(None, description="techniques that appear anywhere in the method")
    model: Texts | None = None
    data: Texts | None = None
    precision: Precisions | None = None
    hardware: Devices | None = None
    seed: Seeds | None = None


class SweepForm(_Form):
    """One grid of cells. Every axis is one value or a list."""

    method: Texts | None = Field(None, description="method expressions, e.g. lora(rank=[4, 16]) > int8")
    model: Texts | None = Field(None, description="embedded, a name under models, random:..., hub:... or a path")
    data: Texts | None = Field(None, description="source, a name under data_sets, hub:... or a path")
    precision: Precisions | None = None
    hardware: Devices | None = Field(None, description="cpu, cuda or a mapping")
    seed: Seeds | None = None
    params: dict[str, dict[str, Scalar | list[Any]]] | None = Field(None, description="parameters by technique")
    tasks: Tasks | None = Field(None, description="what is measured, e.g. perplexity(view=instructions)")
    budget: BudgetForm | None = None
    tune: TuneForm | None = None
    exclude: list[RuleForm] | None = None
    baseline: str | None = Field(None, description="the method that others are compared with")


class SuiteForm(SweepForm):
    """A suite: one question, and the cells that answer it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    question: str = Field("", description="what the suite answers, in one line")
    notes: list[str] = Field(default=[], description="what a reader of the report should know about data and models")
    limits: LimitsForm = LimitsForm()
    interleave: bool = Field(
        False, description="run seed after seed, the cells of each in an order of its own: times compare in pairs"
    )
    models: dict[str, ModelForm] = {}
    data_sets: dict[str, DataForm] = {}
    sweeps: Annotated[list[SweepForm], Field(min_length=1)] | None = None


def to_schema() -> str:
    """Return the JSON Schema of a suite file as text that ends with a newline."""
    schema = SuiteForm.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"

"""Tiny models of the real architectures, and a device whose memory has an end."""

from __future__ import annotations

import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    GenerationConfig,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessor,
    MllamaProcessor,
    PerceptionLMConfig,
    PerceptionLMForConditionalGeneration,
    PerceptionLMImageProcessor,
    PerceptionLMProcessor,
    PerceptionLMVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    VJEPA2Config,
    VJEPA2Model,
)

from pipeline.devices import Device

CROP, WINDOW = 32, 16
WIDTH = 32


def save_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Write a folder as the hub would give it, with random weights; returns it."""
    torch.manual_seed(seed)
    config = VJEPA2Config(
        crop_size=CROP,
        patch_size=16,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        frames_per_clip=WINDOW,
        initializer_range=0.2,
        pred_hidden_size=16,
        pred_num_hidden_layers=1,
        pred_num_attention_heads=2,
    )
    VJEPA2Model(config).save_pretrained(folder)
    return folder


class SmallDevice(Device):
    """The CPU with so many bytes for what the model computes; beyond them it raises as CUDA does.

    Attributes:
        peak: the most bytes that were held at a time
        refusals: how often there were too few
    """

    def __init__(self, limit: int):
        super().__init__()
        self.limit, self.held, self.peak, self.refusals = limit, 0, 0, 0

    def computing(self) -> Any:
        return _Counted(self)

    def room(self) -> int:
        return int(0.8 * (self.limit - self.held))

    def measured(self, work: Any) -> tuple[Any, int]:
        self.peak = before = self.held
        result = work()
        return result, self.peak - before


class _Counted(TorchDispatchMode):
    """Counts the storages of all tensors that come to be, each as long as a tensor uses it."""

    def __init__(self, device: SmallDevice):
        super().__init__()
        self.device, self.users = device, Counter[int]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        device = self.device
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            address, size = storage.data_ptr(), storage.nbytes()
            self.users[address] += 1
            if self.users[address] == 1:
                device.held += size
            weakref.finalize(tensor, self._dropped, address, size)
        device.peak = max(device.peak, device.held)
        if device.held > device.limit:
            device.refusals += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    def _dropped(self, address: int, size: int) -> None:
        self.users[address] -= 1
        if not self.users[address]:
            self.device.held -= size


# -- chat models -------------------------------------------------------------------------------

CHAT_KINDS = ("qwen3", "qwen3-vl", "perception-lm", "mllama", "internvl")
#: Tokens that a prompt and its answer may have together.
CHAT_CONTEXT = 32_768

_TEXT = """A person cuts an onion on a wooden board and puts it into a pan with hot oil. The person
in the kitchen stirs the soup, adds salt and pepper, and tastes it with a spoon. {"caption": "the
man opens the drawer", "action": "open drawer", "summary": {"brief": "", "detailed": ""}, "actor":
"a woman in a red apron"} Describe this video in one sentence. What is the action? 0 1 2 3 4 5"""

_CHATML = """{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}\
{% if part.type == 'image' %}{IMAGE}{% elif part.type == 'video' %}{VIDEO}\
{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# As Llama 3.2 Vision has it: no system message beside an image.
_LLAMA = """{{ bos_token }}{% set seen = namespace(image=false) %}{% for m in messages %}\
{% if m.content is not string %}{% for part in m.content %}{% if part.type == 'image' %}\
{% set seen.image = true %}{% endif %}{% endfor %}{% endif %}{% endfor %}\
{% if seen.image and messages[0].role == 'system' %}\
{{ raise_exception("Prompting with images is incompatible with system messages.") }}{% endif %}\
{% for m in messages %}<|im_start|>{{ m.role }}

{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}\
{% if part.type == 'image' %}<|image|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}\
<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant

{% endif %}"""


def save_chat_checkpoint(folder: Path, kind: str, seed: int = 0) -> Path:
    """Write a chat model of a real architecture, with random weights; returns its folder.

    Its tokenizer has all bytes, some words and the special tokens; an eye of it sees 32 pixels.

    Args:
        kind: one of :data:`CHAT_KINDS`; "qwen3" has no eyes
    """
    torch.manual_seed(seed)
    transformers.logging.disable_progress_bar()
    make = {
        "qwen3": _qwen3,
        "qwen3-vl": _qwen3_vl,
        "perception-lm": _perception_lm,
        "mllama": _mllama,
        "internvl": _internvl,
    }[kind]
    processor, model = make()
    # Larger weights than for training, so that answers hang on what was asked.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0, 2 / weight.shape[-1] ** 0.5)
            elif name.endswith("_gate"):  # Mllama's, closed before training
                weight.fill_(0.3)
    tokenizer = getattr(processor, "tokenizer", processor)
    _end_strings(model, tokenizer.convert_tokens_to_ids('"'))
    model.generation_config = GenerationConfig(
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=0.7,
        top_p=0.8,
        top_k=20,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@torch.no_grad()
def _end_strings(model: Any, quote: int) -> None:
    """Make a quotation mark likelier, so that strings in JSON end before they have to.

    One number of what is known of each token is the same for all, and only this mark's score
    counts it: that makes it a constant, which these architectures have none of.
    """
    known = model.get_input_embeddings().weight
    known /= known.std()
    known[:, 0] = 2.0
    scores = model.get_output_embeddings().weight
    scores[:, 0] = 0.0
    scores[quote, 0] = 5.0


def _tokenizer(template: str, *more: str, **named: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE of some 400 tokens with the special tokens behind them."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=512, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([_TEXT], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|begin|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=named,
        chat_template=template,
        model_max_length=CHAT_CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([*("<|im_start|>", *more)], special_tokens=True)
    return tokenizer


def _text_sizes(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": -(-len(tokenizer) // 64) * 64,  # more than there are tokens, as real ones
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": CHAT_CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _qwen3() -> tuple[Any, Any]:
    tokenizer = _tokenizer(_CHATML)
    return tokenizer, Qwen3ForCausalLM(Qwen3Config(**_text_sizes(tokenizer), head_dim=32))


def _qwen3_vl() -> tuple[Any, Any]:
    start, end, image, video = (
        f"<|{name}|>" for name in ("vision_start", "vision_end", "image_pad", "video_pad")
    )
    template = _CHATML.replace("{IMAGE}", start + image + end)
    tokenizer = _tokenizer(
        template.replace("{VIDEO}", start + video + end), start, end, image, video
    )
    ids = tokenizer.convert_tokens_to_ids
    pixels = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(size=pixels, patch_size=16),
        tokenizer,
        Qwen3VLVideoProcessor(size={**pixels, "longest_edge": 64 * 64 * 32}),
        chat_template=tokenizer.chat_template,
    )
    config = Qwen3VLConfig(
        text_config={
            **_text_sizes(tokenizer),
            "head_dim": 32,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 500000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=ids(image),
        video_token_id=ids(video),
        vision_start_token_id=ids(start),
        vision_end_token_id=ids(end),
    )
    return processor, Qwen3VLForConditionalGeneration(config)


def _perception_lm() -> tuple[Any, Any]:
    template = _CHATML.replace("{IMAGE}", "<|image|>").replace("{VIDEO}", "<|video|>")
    tokenizer = _tokenizer(template, image_token="<|image|>", video_token="<|video|>")
    size = {"height": 32, "width": 32}
    processor = PerceptionLMProcessor(
        PerceptionLMVideoProcessor(size=size),
        PerceptionLMImageProcessor(size=size, tile_size=32, max_num_tiles=4),
        tokenizer,
        patch_size=8,
        pooling_ratio=2,
        chat_template=tokenizer.chat_template,
    )
    config = PerceptionLMConfig(
        text_config={"model_type": "llama", **_text_sizes(tokenizer), "head_dim": 32},
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_core_tiny_patch16_384",
            "do_pooling": False,
            "num_classes": 0,
            "global_pool": "",
            "initializer_range": 0.2,
            "model_args": {
                "embed_dim": 32,
                "depth": 2,
                "num_heads": 2,
                "img_size": [32, 32],
                "patch_size": 8,
                "ref_feat_shape": [4, 4],
                "use_post_transformer_norm": False,
            },
        },
        projector_pooling_ratio=2,
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    )
    return processor, PerceptionLMForConditionalGeneration(config)


def _mllama() -> tuple[Any, Any]:
    tokenizer = _tokenizer(_LLAMA, "<|python_tag|>", "<|image|>")
    processor = MllamaProcessor(
        MllamaImageProcessor(size={"height": 32, "width": 32}, max_image_tiles=4),
        tokenizer,
        chat_template=tokenizer.chat_template,
    )
    image = tokenizer.convert_tokens_to_ids("<|image|>")
    config = MllamaConfig(
        text_config={
            **_text_sizes(tokenizer),
            "vocab_size": image,  # the image's token has an embedding and no logit
            "num_hidden_layers": 3,
            "cross_attention_layers": [1],
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "vision_output_dim": 64,
            "image_size": 32,
            "patch_size": 8,
            "intermediate_layers_indices": [1],
        },
        image_token_index=image,
    )
    return processor, MllamaForConditionalGeneration(config)


def _internvl() -> tuple[Any, Any]:
    template = _CHATML.replace("{IMAGE}", "<IMG_CONTEXT>\n").replace("{VIDEO}", "<video>\n")
    tokenizer = _tokenizer(
        template,
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    size = {"height": 32, "width": 32}
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=size, crop_to_patches=True, max_patches=4),
        tokenizer,
        InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=tokenizer.chat_template,
    )
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **_text_sizes(tokenizer)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [32, 32],
            "patch_size": [8, 8],
        },
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    return processor, InternVLForConditionalGeneration(config)

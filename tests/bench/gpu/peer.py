#!/usr/bin/env python3
"""The peer of the bench `gpu`: LoRA with PyTorch and PEFT on a GPU, over the same base and rows.

usage: peer.py windows|rows|large plain|checkpointing BASE.gguf ROWS.jsonl
needs: torch with CUDA, transformers, peft, gguf

As the `Trainer` with `bf16=True` computes: a base of 16 bits, adapters of 32, products of 16 by autocast, SDPA. Rows are padded
to the longest of a micro-batch. Prints one JSON object at the end; the first two steps are warm-up.
"""
import json, os, sys, time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

STEPS, ROWS_A_STEP, MICRO_BATCH = 10, 64, 16
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ROLE = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def tokenised(tok, path, count):
    rows = []
    for line in open(path, encoding="utf-8").readlines()[:count]:
        messages = [{"role": ROLE[m["from"]], "content": m["value"]} for m in json.loads(line)["conversations"]]
        ids, labels = [], []
        for k, message in enumerate(messages):
            now = tok.apply_chat_template(messages[:k + 1], tokenize=True, return_dict=False)
            new = now[len(ids):]
            labels += new if message["role"] == "assistant" else [-100] * len(new)
            ids = now
        rows.append((ids[:2048], labels[:2048]))
    return rows


def padded(rows):
    longest = max(len(ids) for ids, _ in rows)
    mask = [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows]
    ids = [ids + [0] * (longest - len(ids)) for ids, _ in rows]
    labels = [labels + [-100] * (longest - len(labels)) for _, labels in rows]
    return [torch.tensor(part, device="cuda") for part in (ids, mask, labels)]


def main(case, how, base, rows_path):
    torch.manual_seed(42)
    if case == "large":
        config = LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                             num_key_value_heads=8, vocab_size=128256, rope_theta=500000.0, max_position_embeddings=131072)
        with torch.device("cuda"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        ids = [token * 7919 % 100000 for token in range(2048)]
        both = [(ids, ids), ([token + 1 for token in ids],) * 2]
        steps = [[both]] * STEPS
    else:
        folder, file = os.path.split(os.path.abspath(base))
        tok = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.bfloat16, attn_implementation="sdpa").cuda()
        if case == "rows":
            rows = tokenised(tok, rows_path, STEPS * ROWS_A_STEP)
            steps = [[rows[at:at + MICRO_BATCH] for at in range(first, first + ROWS_A_STEP, MICRO_BATCH)]
                     for first in range(0, len(rows), ROWS_A_STEP)]
        else:
            rows = tokenised(tok, rows_path, 64)
            ids, labels = [sum((row[part] for row in rows), []) for part in (0, 1)]
            windows = [(ids[at:at + 512], labels[at:at + 512]) for at in range(0, len(ids) - 511, 512)]
            steps = [[[windows[(8 * step + at) % len(windows)] for at in range(8)]] for step in range(STEPS)]
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=ALL))
    if how == "checkpointing":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model.config.use_cache = False
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    losses, seconds, counts, tokens = [], [], [], []
    for batches in steps:
        torch.cuda.synchronize()
        start, total = time.perf_counter(), 0.0
        trained = sum(label != -100 for batch in batches for _, labels in batch for label in labels[1:])
        for batch in batches:
            ids, mask, labels = padded(batch)
            mask = None if bool(mask.all()) else mask
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = model(input_ids=ids, attention_mask=mask, labels=labels, num_items_in_batch=trained).loss
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        losses.append(total)
        counts.append(sum(len(batch) for batch in batches))
        tokens.append(sum(len(ids) for batch in batches for ids, _ in batch))
    taken = sum(seconds[2:])
    print(json.dumps({"tokens_per_second": sum(tokens[2:]) / taken, "rows_per_second": sum(counts[2:]) / taken,
                      "losses": losses, "seconds": seconds, "torch_peak_mib": torch.cuda.max_memory_allocated() >> 20}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])

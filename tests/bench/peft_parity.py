#!/usr/bin/env python3
"""The peer of the bench `parity`: PEFT trains each case, and afterwards loads what the bench trained.

usage: peft_parity.py train BASE.gguf OUT [CASE …]     trains the cases with one thread, and `lora` and `full` with two
       peft_parity.py load OUT                         loads what the bench wrote to OUT/CASE/ours
needs: torch, transformers, peft, gguf (any CPU build)

OUT/base is the base dequantised to 32 bits, as safetensors. OUT/CASE has `case.json` (how it is trained), `rows.jsonl`
(ids and labels of each row: whole rows, none beside another), `initial/`, `final-1/` and `final-2/` (the adapters at the
start and, by threads, at the end), and `losses-1.jsonl` and `losses-2.jsonl` (one line a step). A second number of threads
shows how far PEFT's own runs end from each other. In the cases whose method is `full` all weights are trained by
transformers, and `final-1/` and `final-2/` are models.
"""
import json, math, os, shutil, sys

os.environ.setdefault("GOMP_SPINCOUNT", "0")  # a waiting thread gives its core to others
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from transformers import (AutoModelForCausalLM, AutoTokenizer, get_constant_schedule, get_cosine_schedule_with_warmup,
                          Trainer, get_linear_schedule_with_warmup)

STEPS = 20
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAIN = {"base": "folder", "rows-a-step": 1, "learning-rate": 2e-4, "loraplus-ratio": 1.0, "weight-decay": 0.0,
         "label-smoothing": 0.0, "schedule": "constant", "warmup-steps": 0, "peft": {"target_modules": ALL}}
CASES = {
    "lora": {},
    "accumulation": {"rows-a-step": 3},
    "rslora": {"peft": {"target_modules": ALL, "use_rslora": True}},
    "dora": {"peft": {"target_modules": ALL, "use_dora": True}},
    "pissa": {"peft": {"target_modules": ALL, "init_lora_weights": "pissa"}},
    "quantised": {"base": "gguf"},
    "recipe": {"loraplus-ratio": 4.0, "weight-decay": 0.1, "label-smoothing": 0.1, "schedule": "cosine",
               "warmup-steps": 3, "peft": {"target_modules": r".*\.(q|v|up|down)_proj", "use_dora": True,
                                           "rank_pattern": {"up_proj": 4}, "alpha_pattern": {"v_proj": 32}}},
    "full": {"method": "full", "learning-rate": 2e-5},
    "full-recipe": {"method": "full", "learning-rate": 5e-5, "rows-a-step": 3, "weight-decay": 0.1, "label-smoothing": 0.1,
                    "schedule": "cosine", "warmup-steps": 3},
}
ROWS = [
    ("What does the proxy do?", "It forwards every TCP connection of its pod and adds mutual TLS, retries and metrics."),
    ("How do I check an installation?", "Run `linkerd check`. Each line is a test; red ones say what to do next."),
    ("Why is my pod not meshed?", "Its namespace or its pod template lacks `linkerd.io/inject: enabled`, or it was not "
     "restarted after the annotation was added. Restart the deployment and look at the number of its containers."),
    ("Name the planes.", "The control plane and the data plane."),
    ("What is a service profile?", "A resource that lists the routes of a service, so that metrics, retries and timeouts "
     "can be set for each route instead of for the service as a whole."),
    ("Can a server reject plain text?", "Yes: with a `Server` and an authorization policy that asks for mesh TLS."),
    ("Which port serves metrics?", "4191, at `/metrics`."),
    ("How long are certificates valid?", "Those of proxies for 24 hours by default. The trust anchor's life is what you "
     "chose when you made it; `linkerd check` warns 60 days before it ends."),
    ("What does `tap` show?", "Live requests: method, path, status and latency, one line each."),
    ("Say it in Greek: thank you.", "Ευχαριστώ."),
    ("How are retries limited?", "By a budget: 20 percent more requests than without retries, and ten a second at least."),
    ("Does it work with UDP?", "No. UDP passes by the proxy untouched."),
    ("What is opaque transport?", "Bytes whose protocol is not looked at. Use it for protocols where the server speaks "
     "first, such as MySQL or SMTP: mark the port with `config.linkerd.io/opaque-ports`."),
    ("Uninstall?", "`linkerd uninstall | kubectl delete -f -`"),
]


def tokenised(tok):
    for question, answer in ROWS:
        ids, labels = [], []
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for k, message in enumerate(messages):
            now = tok.apply_chat_template(messages[:k + 1], tokenize=True, return_dict=False)
            added = now[len(ids):]
            labels += added if message["role"] == "assistant" else [-100] * len(added)
            ids = now
        yield ids, labels


def load(path):
    folder, file = os.path.split(os.path.abspath(path))
    source = (folder, {"gguf_file": file}) if file.endswith(".gguf") else (path, {})
    return AutoModelForCausalLM.from_pretrained(source[0], dtype=torch.float32, **source[1])


def row_loss(model, row, smoothing=0.0):
    """Returns the summed loss of a row and the number of its trained tokens."""
    ids, labels = torch.tensor([row[0]]), torch.tensor(row[1])[1:]
    logits = model(input_ids=ids).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum", label_smoothing=smoothing)
    return loss, int((labels != -100).sum())


def whole(how, base):
    """Returns a model all of whose weights are trained, and its optimizer, with the groups of the `Trainer`."""
    model = load(base)
    # Where padding is a token that rows have as well, such as the one that ends a turn, its embedding would lack its gradient.
    model.get_input_embeddings().padding_idx = None
    decaying = set(Trainer.get_decay_parameter_names(None, model))
    groups = [{"params": [p for name, p in model.named_parameters() if (name in decaying) == decays],
               "weight_decay": how["weight-decay"] if decays else 0.0} for decays in (True, False)]
    return model, torch.optim.AdamW(groups, lr=how["learning-rate"])


def adapted(how, base, out):
    """Returns a model with an adapter that is trained, and its optimizer; writes the adapter's start."""
    settings = {"r": 16, "lora_alpha": 16, "lora_dropout": 0.0, "task_type": "CAUSAL_LM"} | how["peft"]
    model = get_peft_model(load(base), LoraConfig(**settings))
    # PiSSA's is saved as it is trained, beside what it leaves of the base.
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(os.path.join(out, "initial"))
    return model, create_loraplus_optimizer(model, torch.optim.AdamW, lr=how["learning-rate"],
                                            loraplus_lr_ratio=how["loraplus-ratio"],
                                            loraplus_weight_decay=how["weight-decay"])


def run(name, how, base, rows, threads, out):
    torch.set_num_threads(threads)
    torch.manual_seed(42)
    model, optimizer = whole(how, base) if how.get("method") == "full" else adapted(how, base, out)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    schedule = {"constant": lambda: get_constant_schedule(optimizer),
                "linear": lambda: get_linear_schedule_with_warmup(optimizer, how["warmup-steps"], STEPS),
                "cosine": lambda: get_cosine_schedule_with_warmup(optimizer, how["warmup-steps"], STEPS)}[how["schedule"]]()
    with open(os.path.join(out, f"losses-{threads}.jsonl"), "w") as log:
        for step in range(STEPS):
            batch = [rows[(step * how["rows-a-step"] + k) % len(rows)] for k in range(how["rows-a-step"])]
            trained, total = sum(label != -100 for _, labels in batch for label in labels[1:]), 0.0
            for row in batch:
                loss = row_loss(model, row, how["label-smoothing"])[0] / trained
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            log.write(json.dumps({"step": step + 1, "loss": total}) + "\n")
    model.save_pretrained(os.path.join(out, f"final-{threads}"))


def train(gguf, out, only):
    torch.manual_seed(42)
    folder, file = os.path.split(os.path.abspath(gguf))
    tok = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    base = os.path.join(out, "base")
    if not os.path.isdir(base):
        quantised = load(gguf)
        del quantised.config.quantization_config  # its numbers are floats already
        dense = AutoModelForCausalLM.from_config(quantised.config, dtype=torch.float32)
        dense.load_state_dict(quantised.state_dict())
        dense.save_pretrained(base)
        tok.save_pretrained(base)
    rows = list(tokenised(tok))
    for name, differs in CASES.items():
        if only and name not in only:
            continue
        how, case = PLAIN | differs, os.path.join(out, name)
        shutil.rmtree(case, ignore_errors=True)
        os.makedirs(case)
        how["path"] = os.path.abspath(gguf if how["base"] == "gguf" else base)
        with open(os.path.join(case, "rows.jsonl"), "w") as file:
            for (ids, labels), (question, answer) in zip(rows, ROWS):
                file.write(json.dumps({"ids": ids, "labels": labels, "question": question, "answer": answer}) + "\n")
        with open(os.path.join(case, "case.json"), "w") as file:
            json.dump(how, file, indent=1)
        for threads in (1, 2) if name in ("lora", "full") else (1,):
            run(name, how, how["path"], rows, threads, case)
        print(json.dumps({"trained": name}), flush=True)


def load_ours(out):
    worst = 0.0
    for name in CASES:
        case = os.path.join(out, name)
        if not os.path.isdir(os.path.join(case, "ours")):
            continue
        how = json.load(open(os.path.join(case, "case.json")))
        is_whole = how.get("method") == "full"
        ours = json.load(open(os.path.join(case, "ours", "loss.json")))["loss"]
        model = load(os.path.join(case, "ours")) if is_whole else PeftModel.from_pretrained(load(how["path"]), os.path.join(case, "ours"))
        model.eval()
        rows = [json.loads(line) for line in open(os.path.join(case, "rows.jsonl"))]
        with torch.no_grad():
            losses = [row_loss(model, (row["ids"], row["labels"])) for row in rows]
            merged = model if is_whole else model.merge_and_unload()
            merged_losses = [row_loss(merged, (row["ids"], row["labels"])) for row in rows]
        theirs, after = [sum(l.item() for l, _ in some) / sum(n for _, n in some) for some in (losses, merged_losses)]
        difference = max(abs(ours / theirs - 1), abs(ours / after - 1))
        worst = max(worst, difference)
        print(json.dumps({"case": name, "ours": ours, "loaded by PEFT": theirs, "merged by PEFT": after,
                          "difference": difference}), flush=True)
    assert math.isfinite(worst) and worst < 2e-4, f"what was trained loses {worst} more or less once PEFT has loaded it"


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"] and len(sys.argv) >= 4:
        train(*sys.argv[2:4], sys.argv[4:])
    elif sys.argv[1:2] == ["load"] and len(sys.argv) == 3:
        load_ours(sys.argv[2])
    else:
        sys.exit(__doc__)

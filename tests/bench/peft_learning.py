#!/usr/bin/env python3
"""How far the held-out loss falls in a project's training, beside PEFT's with the same rows and settings.

usage: peft_learning.py TUNESMITH PROJECT [SEED …]     PROJECT has `train.expert`, of rows that `filter.split` divides
needs: torch, transformers, peft, gguf (any CPU build), and a base that is one GGUF

TUNESMITH trains in a copy of PROJECT with one seed after the other (0, 1 and 2 unless said), and shows the tokens of its
rows and which of them are trained. PEFT trains on those from a start and in an order of its own, the rows of a batch padded
to the longest. Losses are means over all trained tokens of the held-out rows. Prints one line of JSON for each seed, and at last
`{"tunesmith": …, "peft": …, "ratio": …}`: how far the loss fell, mean over the seeds, and ours over PEFT's.
"""
import json, math, os, random, shutil, statistics, subprocess, sys, tempfile, tomllib

os.environ.setdefault("GOMP_SPINCOUNT", "0")  # a waiting thread gives its core to others
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# The settings that PEFT follows here, with the defaults of `train.lora`.
DEFAULTS = {"rank": 16, "alpha": 16, "batch-size": 8, "epochs": 3, "learning-rate": 2e-4, "warmup-ratio": 0.03}


class Project:
    """A copy of a project, which is trained with other seeds and measures its loss on the rows that are held out."""

    def __init__(self, tunesmith, folder):
        self.tunesmith, self.folder = os.path.abspath(tunesmith), folder
        with open(os.path.join(folder, "pipeline.toml"), "rb") as manifest:
            declared = tomllib.load(manifest)["train"]["expert"]
        assert declared.pop("type") == "lora", "`train.expert` is no training of an adapter"
        declared.pop("seed", None)
        [self.rows] = declared.pop("from")
        assert declared.keys() <= DEFAULTS.keys(), f"PEFT does not follow these here: {declared.keys() - DEFAULTS.keys()}"
        self.settings = DEFAULTS | declared

    def run(self, *words):
        told = subprocess.run([self.tunesmith, *words], cwd=self.folder, stdout=subprocess.PIPE, check=True)
        return told.stdout.decode()

    def trained(self, seed):
        """Returns the losses on held-out rows before and after training."""
        held = f"{self.rows}:eval"
        settings = {"from": [self.rows, held], "eval": held, "seed": seed}
        changed = [word for key, value in settings.items() for word in ("--set", f"train.expert.{key}={json.dumps(value)}")]
        self.run("build", "expert", *changed)
        shown = map(json.loads, self.run("show", "expert", "--json", *changed).splitlines())
        fields = next(line["show"]["fields"] for line in shown if "show" in line)
        return {"before": fields["eval-base-loss"], "after": fields["eval-loss"]}

    def tokens(self, output):
        """Returns ids and labels of each row of an output."""
        told = self.run("show", self.rows, "--output", output, "--rows", "1000000", "--tokens", "--json")
        rows = [row["tokens"] for row in map(json.loads, told.splitlines()) if "tokens" in row]
        return [(row["ids"], [i if m else -100 for i, m in zip(row["ids"], row["mask"])]) for row in rows]


def summed_loss(model, rows):
    """Returns the summed loss of rows, padded to the longest, and the number of their trained tokens."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
    attention = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in rows])[:, 1:]
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return loss, int((labels != -100).sum())


def held_out_loss(model, rows):
    model.eval()
    with torch.no_grad():
        parts = [summed_loss(model, [row]) for row in rows]
    return sum(loss.item() for loss, _ in parts) / sum(count for _, count in parts)


def peft_trained(base, settings, seed, rows, held):
    """Returns the losses on held-out rows before and after PEFT trains with the recipe of `train.lora`."""
    torch.manual_seed(seed)
    folder, file = os.path.split(base)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    config = LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], task_type="CAUSAL_LM", target_modules=ALL)
    model = get_peft_model(model, config)
    before, size, order = held_out_loss(model, held), settings["batch-size"], random.Random(seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings["learning-rate"], weight_decay=0.0)
    steps = settings["epochs"] * math.ceil(len(rows) / size)
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(steps * settings["warmup-ratio"]), steps)
    for _ in range(settings["epochs"]):
        model.train()
        shuffled = order.sample(rows, len(rows))
        for first in range(0, len(rows), size):
            loss, trained = summed_loss(model, shuffled[first:first + size])
            (loss / trained).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
    return {"before": before, "after": held_out_loss(model, held)}


def main(tunesmith, folder, *seeds):
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        project = Project(tunesmith, shutil.copytree(folder, os.path.join(scratch, "project")))
        project.run("build", project.rows, "model")
        rows, held, base = project.tokens("train"), project.tokens("eval"), os.path.join(scratch, "base.gguf")
        for seed in map(int, seeds or (0, 1, 2)):
            ours = project.trained(seed)
            if not os.path.exists(base):
                project.run("get", "model:weights", "-o", base)
            theirs = peft_trained(base, project.settings, seed, rows, held)
            runs.append({"seed": seed, "tunesmith": ours, "peft": theirs})
            print(json.dumps(runs[-1]), flush=True)
    fall = {side: statistics.mean(run[side]["before"] - run[side]["after"] for run in runs) for side in ("tunesmith", "peft")}
    print(json.dumps(fall | {"ratio": fall["tunesmith"] / fall["peft"]}))


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(*sys.argv[1:])

#!/usr/bin/env python3
"""Prints the questions with the base's and the tuned model's answers side by side.

usage: side_by_side.py ANSWERS.jsonl      the output `answers` of an `eval.compare`
"""
import json
import sys
import textwrap

WIDTH = 46


def column(text):
    return textwrap.wrap(" ".join(text.split()), WIDTH) or [""]


rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
for row in rows:
    print(f"\n{row['ask']}")
    mark = {True: "✓", False: "✗"}
    base, tuned = column(row["base"]["answer"]), column(row["tuned"]["answer"])
    print(f"  {mark[row['base']['pass']]} {'base':{WIDTH}}  {mark[row['tuned']['pass']]} tuned")
    for index in range(max(len(base), len(tuned))):
        left = base[index] if index < len(base) else ""
        right = tuned[index] if index < len(tuned) else ""
        print(f"    {left:{WIDTH}}    {right}")
for who in ("base", "tuned"):
    print(f"\n{who}: {sum(row[who]['pass'] for row in rows)} of {len(rows)} right", end="")
print()

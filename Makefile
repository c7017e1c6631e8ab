# The two commands that need nothing but a Rust toolchain and Python 3: `make test` and `make demo`.
# Missing system packages are installed, or named in one line when that needs a right that the user lacks.

CARGO ?= cargo
LOCKED := --locked
DOCFLAGS := -D warnings -D rustdoc::broken_intra_doc_links
BENCH := $(CARGO) bench $(LOCKED) --profile dev
PROGRAM := $(or $(CARGO_TARGET_DIR),target)/debug/tunesmith

.PHONY: test test-long demo check-clients check-cuda test-cuda fmt lint unit doc generated bench bench-charts bench-convert \
	bench-engine bench-export bench-forecast bench-gpu bench-importance bench-learning bench-parity bench-train fuzz \
	system-packages

# Everything that must hold, cheap checks first.
test: system-packages fmt lint unit doc generated

# From a small corpus to a quantised model that answers, beside the answers of its base.
demo: system-packages
	@.ci/system-packages pip
	$(CARGO) build $(LOCKED)
	$(CARGO) run $(LOCKED) --quiet -- build questions modelfile --file examples/quickstart/pipeline.toml
	@python3 examples/quickstart/side_by_side.py examples/quickstart/output/answers.jsonl
	@$(CARGO) run $(LOCKED) --quiet -- build --file examples/quickstart/pipeline.toml

fmt:
	$(CARGO) fmt --check

# Without the heavy features first: that is what an edit of the engine sees, and it fails within seconds.
lint:
	$(CARGO) clippy $(LOCKED) --no-default-features --all-targets -- -D warnings
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings

unit:
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then set -x; $(CARGO) nextest run $(LOCKED); \
	else set -x; $(CARGO) test $(LOCKED); fi

doc:
	RUSTDOCFLAGS="$(DOCFLAGS)" $(CARGO) doc $(LOCKED) --no-deps --document-private-items

# What is made from the code and kept in git: the manifest's schema and the README's table of node types.
generated:
	@CARGO="$(CARGO)" .ci/generated check

# Whether the program compiles for NVIDIA GPUs: many minutes, and 550 MB of CUDA's compiler below CUDA. No GPU is needed.
CUDA ?= target/cuda
check-cuda:
	CARGO="$(CARGO)" .ci/check-cuda $(CUDA)

# Whether an NVIDIA GPU of this machine computes what the CPU does; CUDA's toolkit is installed already.
test-cuda:
	$(CARGO) test $(LOCKED) --features cuda --lib -- portable gpu

# Whether Ollama's own clients for Python and JavaScript see what tunesmith put on a server, and do the same: the server is
# that of the tests. They are fetched from PyPI and npm into CLIENTS.
CLIENTS ?= target/clients
check-clients:
	CARGO="$(CARGO)" .ci/ollama-clients $(CLIENTS)

# The tests of chance as often as it takes to trust them: 200 kills of a build, 100 of a fetch, 50 builds at once, 20,000
# damaged inputs for each reader. Some 25 minutes.
test-long: system-packages
	TUNESMITH_LONG_TESTS=1 $(CARGO) test $(LOCKED) --test it -- interruption at_once corpora

# Each reader of bytes that others wrote, for FUZZ_SECONDS.
FUZZ_SECONDS ?= 600
fuzz:
	tests/fuzz/run $(FUZZ_SECONDS)

# Figures as JSON lines, on this machine: the data half, and the engine alone. PULLS names an uncompressed file of pull
# requests, FORMAT_SCRIPT a Python script that makes rows of it by the same rules.
PULLS ?=
FORMAT_SCRIPT ?=
bench:
	$(BENCH) --bench records -- 1000000 $(PULLS)
	$(BENCH) --bench fetch
	$(BENCH) --bench dedup
	$(BENCH) --bench format -- $(PULLS) $(FORMAT_SCRIPT)

bench-engine:
	$(BENCH) --no-default-features --bench engine

# What `plan` forecasts of trainings beside what they take. FORECAST names a GGUF and a file of rows.
FORECAST ?=
bench-forecast:
	$(BENCH) --bench forecast -- $(FORECAST)

# Values of some 30 real charts changed in place and held against PyYAML; the packages that ship them are fetched.
bench-charts:
	$(CARGO) build $(LOCKED) --no-default-features
	$(PYTHON) tests/bench/charts.py $(PROGRAM)

# Training held against PEFT's, step by step, some ten minutes: PEFT is a Python with torch, transformers, peft and gguf,
# BASE a GGUF of a small Llama.
PEFT ?= python3
BASE ?=
PARITY ?= target/parity
bench-parity:
	$(PEFT) tests/bench/peft_parity.py train $(BASE) $(PARITY)
	$(BENCH) --bench parity -- $(PARITY)
	$(PEFT) tests/bench/peft_parity.py load $(PARITY)

# How far the loss on held-out rows falls in the quickstart's training, beside PEFT's with the same rows and settings, for
# three seeds: some fifteen minutes.
bench-learning:
	$(CARGO) build $(LOCKED)
	$(PEFT) tests/bench/peft_learning.py $(PROGRAM) examples/quickstart

# Training beside PyTorch with PEFT: BASE names a GGUF, ROWS conversations as JSON lines, PEFT a Python as above, and
# PEFT_SCRIPT what it runs; without one only our side is measured. Some 15 minutes.
ROWS ?=
PEFT_SCRIPT ?=
bench-train:
	$(BENCH) --bench train -- $(BASE) $(ROWS) $(if $(PEFT_SCRIPT),$(PEFT) $(PEFT_SCRIPT))

# The same on an NVIDIA GPU: GPU_PEFT is a Python as above whose torch computes there; without one only our side is measured.
GPU_PEFT ?=
bench-gpu:
	$(BENCH) --features cuda --bench gpu -- $(BASE) $(ROWS) $(GPU_PEFT)

# A folder of safetensors to GGUF beside llama.cpp's own converter, every tensor and every key compared. FOLDER is the
# model, LLAMA_CPP the folder of llama.cpp's source, PYTHON an interpreter with torch and transformers.
PYTHON ?= python3
bench-convert:
	$(BENCH) --bench convert -- $(FOLDER) $(LLAMA_CPP) $(PYTHON)

# From weights to a GGUF, beside llama.cpp and PEFT. EXPORT names a model's folder and where the peers are; see
# tests/bench/export.rs.
EXPORT ?=
bench-export:
	$(BENCH) --bench export -- $(EXPORT)

# The importance matrix beside that of llama.cpp's llama-imatrix: IMPORTANCE="MODEL.gguf TEXT LLAMA_IMATRIX".
IMPORTANCE ?=
bench-importance:
	$(BENCH) --bench importance -- $(IMPORTANCE)

system-packages:
	@.ci/system-packages compiler cmake libclang

# The two commands that need nothing but a Rust toolchain and Python 3: `make test` and `make demo`.
# Missing system packages are installed, or named in one line when that needs a right that the user lacks.

CARGO ?= cargo
LOCKED := --locked
DOCFLAGS := -D warnings -D rustdoc::broken_intra_doc_links
BENCH := $(CARGO) bench $(LOCKED) --profile dev

.PHONY: test test-long demo fmt lint unit doc generated bench bench-engine bench-export fuzz system-packages

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

# The tests of chance as often as it takes to trust them: 200 kills of a build, 100 of a fetch, 50 builds at once. Some
# 20 minutes.
test-long: system-packages
	TUNESMITH_LONG_TESTS=1 $(CARGO) test $(LOCKED) --test it -- interruption at_once

# Each reader of bytes that others wrote, for FUZZ_SECONDS.
FUZZ_SECONDS ?= 600
fuzz:
	tests/fuzz/run $(FUZZ_SECONDS)

# Figures as JSON lines, on this machine: the data half, and the engine alone. FORMAT names an uncompressed file of pull
# requests, and a Python script that makes rows of it by the same rules.
FORMAT ?=
bench:
	$(BENCH) --bench records
	$(BENCH) --bench fetch
	$(BENCH) --bench dedup
	$(BENCH) --bench format -- $(FORMAT)

bench-engine:
	$(BENCH) --no-default-features --bench engine

# From weights to a GGUF, beside llama.cpp and PEFT. EXPORT names a model's folder and where the peers are; see
# tests/bench/export.rs.
EXPORT ?=
bench-export:
	$(BENCH) --bench export -- $(EXPORT)

system-packages:
	@.ci/system-packages compiler cmake libclang

# The commands of this project. `make demo` and `make test` need only Rust and a C compiler.

CARGO ?= cargo
PREFIX ?= /usr/local
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help build demo test lab soak day fmt lint deny bench sim fuzz man install clean

help:
	@echo "make demo      watch an authority, three peers, a revocation and an outsider"
	@echo "make test      prove it: unit, simulation and end-to-end tests"
	@echo "make lab       twelve hosts, NATs, a partition, on network namespaces (root)"
	@echo "make soak      SIZE=$(SIZE) messages and RESTARTS=$(RESTARTS) restarts: all arrive, once"
	@echo "make day       twenty nodes that renew every twenty seconds, for DAY_S=$(DAY_S) seconds"
	@echo "make lint      formatting and clippy, as CI runs them"
	@echo "make sim       networks of SIZES=\"$(SIZES)\" nodes into docs/scale.*; SEED=N replays one"
	@echo "make bench     the benchmarks"
	@echo "make fuzz      every fuzz target for FUZZ_S seconds (cargo-fuzz, nightly)"
	@echo "make man       man pages into docs/man"
	@echo "make install   programs, man pages and the systemd units under PREFIX=$(PREFIX)"

build:
	$(CARGO) build --workspace --locked

# The debug build that `make test` shares: whoever runs both builds once.
demo: build
	BIN=$(TARGET)/debug tests/demo.sh

test: build
	$(CARGO) test --workspace --locked --no-fail-fast

lab: build
	tests/lab.sh

SIZE ?= 200000
RESTARTS ?= 40
soak:
	$(CARGO) build --release --locked -p ca-tool -p peer -p tests
	$(TARGET)/release/soak $(SIZE) $(RESTARTS)

DAY_S ?= 600
day: build
	CONCLAVE_DAY_S=$(DAY_S) $(CARGO) test --locked -p tests --test scenarios day::

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

deny:
	$(CARGO) deny check

bench:
	$(CARGO) run --release --locked -p benches

SIZES ?= 100 1000
SEED ?= 1
sim:
	$(CARGO) run --release --locked -p sim -- $(SIZES) --seed $(SEED)

FUZZ_S ?= 60
fuzz:
	cd fuzz && for target in $$(cargo fuzz list); do \
		cargo +nightly fuzz run $$target corpus/$$target -- -max_total_time=$(FUZZ_S) || exit 1; \
	done

man: build
	mkdir -p docs/man
	$(TARGET)/debug/ca-tool man > docs/man/ca-tool.1
	$(TARGET)/debug/peer man > docs/man/peer.1

install: man
	$(CARGO) build --release --locked -p ca-tool -p peer
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(TARGET)/release/ca-tool $(TARGET)/release/peer $(DESTDIR)$(PREFIX)/bin/
	install -m 644 docs/man/ca-tool.1 docs/man/peer.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 contrib/peer.service $(DESTDIR)$(PREFIX)/lib/systemd/system/peer@.service
	install -m 644 contrib/ca-tool.service $(DESTDIR)$(PREFIX)/lib/systemd/system/ca-tool.service

clean:
	$(CARGO) clean

# Every target works from a clean clone on a machine that has the toolchains that README.md names.
# Phases that take long say what they do and about how long.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

PURE := -p ipam-audit-core -p ipam-audit-report

.DEFAULT_GOAL := help
.PHONY: help build fmt lint test test-fast bench bench-evaluate bundle demo crds docs deny clean seams limits release

help: ## List the targets
	@echo "IpamAudit: where did the pod addresses go?"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the ipam-audit binary (target/debug/ipam-audit)
	@tests/run phase "building ipam-audit" "the first time 8 to 15 minutes: the AWS SDK is one large crate"
	$(CARGO) build --locked --workspace --bins

release: ## Build it optimised (target/release/ipam-audit)
	$(CARGO) build --locked --release -p ipam-audit

fmt: ## Format the code
	$(CARGO) fmt --all

lint: seams ## Check formatting, clippy (pedantic) and the seams between crates
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

seams: ## Check that core sees no kube, AWS or tokio, and only ec2 sees the AWS SDK
	@tests/check-seams

test: ## Run every suite; ends with `N passed, N failed`
	@tests/run all

test-fast: ## Run the suites of the pure crates only (seconds)
	$(CARGO) test --locked $(PURE)

bench: export IPAM_AUDIT_FOR_IMAGE = 1
bench: release ## Measure the operator on 5,000 nodes, 150,000 pods (PODS=50000) and 20,000 interfaces
	@tests/run phase "building the rig" "the first time about 5 minutes"
	$(CARGO) build --locked --release -p ipam-audit-testkit --bins
	@tests/run phase "measuring" "about 12 minutes; the first time some more, for the control plane and a snapshot of the cluster"
	@bin=$${CARGO_TARGET_DIR:-target}/release; $$bin/bench --operator $$bin/ipam-audit --pods $(or $(PODS),150000) $(ARGS)

bench-evaluate: ## Measure one evaluation of the same size alone (RULES=1: each rule, too)
	@tests/run phase "building the bench" "the first time about 2 minutes"
	$(CARGO) build --locked --release -p ipam-audit-core --example scale
	@$${CARGO_TARGET_DIR:-target}/release/examples/scale $(if $(RULES),rules)

bundle: ## Write a scenario as files of kubectl and aws and a look MINUTES=11 later (SCENARIO=incident), and audit them
	@tests/run phase "building ipam-audit" "the first time 8 to 15 minutes: the AWS SDK is one large crate"
	$(CARGO) build --locked --workspace --bins
	@bin=$${CARGO_TARGET_DIR:-target}; name=$(or $(SCENARIO),incident); to=$$bin/bundle/$$name; \
	    $$bin/debug/scenario-bundle --minutes $(or $(MINUTES),11) $$name $$to/first $$to/second && \
	    $$bin/debug/ipam-audit audit --from $$to/first --then $$to/second --fail-on never

demo: ## Show the incident on a real control plane (ONCE=1 exits at the end)
	@tests/run phase "building the demo" "the first time 15 to 25 minutes with the control plane, then seconds"
	$(CARGO) build --locked --workspace --bins
	@$${CARGO_TARGET_DIR:-target}/debug/demo $(if $(ONCE),--once)

crds: ## Regenerate crds/, deploy/'s rights, docs/findings/, docs/api.md and docs/rights.md
	BLESS=1 $(CARGO) test --locked -q -p ipam-audit-api -p ipam-audit-report -- generated

limits: ## Regenerate the table of instance limits from the CNI's and the resource controller's own tables
	cd tools/instance-limits && go run -mod=readonly . > ../../crates/core/data/instance-limits.csv.new
	mv crates/core/data/instance-limits.csv.new crates/core/data/instance-limits.csv

docs: crds ## Regenerate the generated documents and build the API documentation (target/doc)
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps -p ipam-audit-core -p ipam-audit-api -p ipam-audit-bundle -p ipam-audit-controller -p ipam-audit-report

deny: ## Check licences, seams and the sources of crates with cargo-deny (installs it if missing)
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check bans licenses sources

clean: ## Remove what builds have made in this checkout (caches outside of it stay)
	$(CARGO) clean

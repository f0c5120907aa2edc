# Two commands do everything, set-up included: make demo, make test.
GO ?= go
.PHONY: all demo test check bench fuzz soak generate clean setup-demo setup-test

all: bin/tapedeck

bin/tapedeck: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/tapedeck
# Talks to PKCS#11 tokens through their C library; put it beside tapedeck.
bin/tapedeck-pkcs11: FORCE
	CGO_ENABLED=1 $(GO) build -trimpath -o $@ ./cmd/tapedeck-pkcs11
FORCE:

setup-demo:
	@sh scripts/setup.sh demo
setup-test:
	@sh scripts/setup.sh test

demo: setup-demo bin/tapedeck
	@sh scripts/demo.sh

test: setup-test
	$(GO) test -timeout 14m ./...

check: setup-test
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "check: gofmt the files above"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags cloudkms ./cmd/tapedeck
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	@sh scripts/check-generated.sh

generate: setup-test
	$(MAKE) -C internal/vm/guest

# make bench BENCH='-quick -only overhead' measures less
bench: setup-test bin/tapedeck
	cd bench && $(GO) run . $(BENCH)

fuzz:
	@sh scripts/fuzz.sh $(FUZZTIME)

# Records and replays for an hour; every replay must equal its recording.
soak: setup-test bin/tapedeck
	@sh scripts/soak.sh $(SOAKTIME)

clean:
	rm -rf bin dist

.PHONY: setup build install demo test bench lint

setup:   ; scripts/setup.sh
build:   ; scripts/build.sh
install: ; scripts/install.sh
demo:    ; scripts/demo.sh
test:    ; scripts/test.sh
bench:   ; scripts/bench.sh
lint:    ; scripts/lint.sh

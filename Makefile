.PHONY: setup build install demo test bench lint soak

setup:   ; scripts/setup.sh
build:   ; scripts/build.sh
install: ; scripts/install.sh
demo:    ; scripts/demo.sh
test:    ; scripts/test.sh
bench:   ; scripts/bench.sh
soak:    ; scripts/soak.sh
lint:    ; scripts/lint.sh

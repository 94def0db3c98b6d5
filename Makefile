# Aliases for those whose fingers know make; ./run does the work and needs no make.
.PHONY: run demo test check lint reset

run demo: ; ./run demo
test check: ; ./run test
lint: ; ./run lint
reset: ; ./run reset

# The two commands: `make demo` builds, packs and boots the sample OS; `make test` passes the tests.
.PHONY: demo test vm-test fuzz lint bench setup clean

demo: setup
	.venv/bin/python scripts/demo.py

test: setup-test
	scripts/check

# Machines that install themselves, start, fall back: every case, hours without acceleration (some minutes a boot).
vm-test: setup-test
	TREEBUILD_VM_ALL=1 .venv/bin/python -m pytest -v -n 2 --dist loadscope tests/vm

# Ten minutes of bad input by chance; `make fuzz MINUTES=60` for an hour.
fuzz: setup-test
	scripts/fuzz $(MINUTES)

lint: setup
	scripts/lint

bench: setup
	.venv/bin/python benchmarks/run.py
	.venv/bin/python benchmarks/solver.py --sizes 100,1000,5000
	.venv/bin/python benchmarks/tree.py --sizes 100,1000,5000

setup:
	scripts/setup

.PHONY: setup-test
setup-test:
	scripts/setup test

clean:
	rm -rf build *.iso *.iso.sha256

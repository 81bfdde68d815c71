# make demo      boots Octavo on an image that it makes and fills itself; on a terminal it leaves you at the prompt
# make test      types, style and tests (for all of them: apt install mtools dosfstools e2fsprogs fdisk)
# make bench     benchmarks against C (needs gcc), mtools, pyfatfs, dissect.fat, FATtools and fatfs-ng; prints tables, never fails
# make measurements  runs the same and writes docs/measurements.md; needs a quiet machine
# make bench-compare REF=COMMIT  says which benchmarks are slower or faster than at a commit; ROWS=NAME,... are some of them,
#                each is run PAIRS times on both (7; needs mtools and dosfstools); never fails for what is slower
# make crash     judges what power cuts leave on FAT volumes, 10,000 states of each type; the seed is SEED (needs dosfstools)
# make mutants   puts 200 one-place faults into the code, one at a time, and says which the tests notice; the seed is SEED
# make fills     fills 10,000 small FAT volumes to their last cluster and slot and beyond; the seed is SEED (needs both)
# make fsx       writes and reads one file by all ways at once, OPS operations (1,000,000) on volumes of every FAT type; the
#                seed is SEED (needs both)
# make fuzz      damages images for SECONDS (300) as coverage guides atheris, and says which is one too many; the seed is
#                SEED (needs mke2fs)
# make preempt  runs the machines of memory and files and crash histories on virtual CPUs that pre-empt each other, by
#                SEEDS seeds for each number of CPUs (20; needs both)
# make clean     removes what these made

PYTHON ?= python3
BIN := .venv/bin
SEED ?= 1
PAIRS ?= 7
OPS ?= 1000000
SEEDS ?= 20
SECONDS ?= 300

.PHONY: demo test bench bench-compare measurements crash fills fsx fuzz mutants preempt clean

demo: .venv/octavo
	$(BIN)/python demo.py

test: .venv/test
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench: .venv/bench
	$(BIN)/python -m benchmarks.physical
	$(BIN)/python -m benchmarks.virtual
	$(BIN)/python -m benchmarks.paging
	$(BIN)/python -m benchmarks.files

bench-compare: .venv/octavo
	$(BIN)/python -m benchmarks.compare $(REF) --pairs $(PAIRS) $(if $(ROWS),--rows $(ROWS))

measurements: .venv/bench
	$(BIN)/python -m benchmarks.report

crash: .venv/test
	$(BIN)/python -m tests.crashes --states 10000 --seed $(SEED)

mutants: .venv/test
	$(BIN)/python -m tests.mutants --count 200 --seed $(SEED)

fills: .venv/test
	$(BIN)/python -m tests.fills --fills 10000 --seed $(SEED)

fsx: .venv/test
	$(BIN)/python -m tests.fsx --ops $(OPS) --seed $(SEED)

fuzz: .venv/fuzz
	$(BIN)/python -m tests.fuzzing --seconds $(SECONDS) --seed $(SEED)

preempt: .venv/test
	OCTAVO_PREEMPT=$(SEEDS) $(BIN)/python -m pytest tests/threads/test_preempted_machines.py tests/fs/fat/test_preempted_files.py

.venv/octavo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Octavo needs Python 3.11 or later; set PYTHON=python3.11, say" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[kernels]'
	touch $@

.venv/test: .venv/octavo
	$(BIN)/pip install -q -e '.[test]'
	touch $@

.venv/fuzz: .venv/test
	$(BIN)/pip install -q -e '.[fuzz]'
	touch $@

.venv/bench: .venv/octavo
	$(BIN)/pip install -q -e '.[bench]'
	touch $@

clean:
	rm -rf .venv .fuzz demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

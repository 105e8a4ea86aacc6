# A short front for CMake: see CMakePresets.json.
JOBS ?= $(shell nproc)

CHECKS = check-asan check-clang check-arm64 check-armhf check-tsan check-mpi

.PHONY: all demo test $(CHECKS) check-lint check-format fuzz format install clean

all:
	cmake --preset release
	cmake --build --preset release -j $(JOBS)

demo:
	tools/install_packages.sh build
	$(MAKE) all
	tools/demo.sh

test:
	tools/install_packages.sh build test
	cmake --preset release -DTINYTL_TESTS=ON
	cmake --build --preset release -j $(JOBS)
	ctest --preset release

# Address and undefined-behaviour sanitizers; clang; other processors, under an emulator; the thread sanitizer over
# everything with threads; pre-training over ranks that mpirun starts. A preset each.
PACKAGES =
check-clang: PACKAGES = clang
check-arm64: PACKAGES = arm64
check-armhf: PACKAGES = armhf
check-mpi: PACKAGES = mpi
$(CHECKS): check-%:
	tools/install_packages.sh build test $(PACKAGES)
	cmake --preset $*
	cmake --build --preset $* -j $(JOBS)
	ctest --preset $*

# Every target for FUZZ_SECONDS; a corpus grows in build-fuzz/corpus. docs/robustness.md.
FUZZ_SECONDS ?= 5
fuzz:
	tools/install_packages.sh build test fuzz
	cmake --preset fuzz
	cmake --build --preset fuzz -j $(JOBS)
	fuzz/run.sh build-fuzz $(FUZZ_SECONDS)

check-lint:
	tools/install_packages.sh build lint
	cmake --preset release
	tools/lint.sh build $(JOBS)

C_FILES = $(shell git ls-files '*.c' '*.h')

check-format:
	tools/install_packages.sh format
	clang-format --dry-run -Werror $(C_FILES)

format:
	clang-format -i $(C_FILES)

install: all
	cmake --install build

clean:
	rm -rf build build-asan build-clang build-arm64 build-armhf build-tsan build-mpi build-fuzz
